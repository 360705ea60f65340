"""Redaction: how many megabytes of output a second pass the redactor, for usual output and for the worst.

The secrets are those of a usual job: a private key of 50 lines, a password with signs, a token; and the API key.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import random
import string
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from easyalert.redact import Redactor

_CHUNK_BYTES: Final = 65_536
_RNG: Final = random.Random(20260324)
_LETTERS: Final = string.ascii_letters + string.digits


def main(argv: list[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench redact", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=4.0, help="of each kind of output (default: 4)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    figures = measure(int(options.megabytes * 1_000_000))
    sys.stdout.write((json.dumps(figures) if options.json else table(figures)) + "\n")
    return 0


def measure(size: int) -> dict[str, Any]:
    """Megabytes a second of CPU time by kind of output, and what it takes to get ready, in milliseconds."""
    secrets = usual_secrets()
    began = time.process_time()
    Redactor(secrets).data(b"x")
    ready_ms = (time.process_time() - began) * 1000
    cases = {name: _rate(secrets, _filled(make, secrets, size)) for name, make in OUTPUTS.items()}
    # each byte begins a match: what no sensible secret brings about
    cases["a secret of one character"] = _rate(["=" * 40], b"=" * (size // 4))
    return {"readyMs": round(ready_ms, 1), "megabytesPerSecond": cases, "python": platform.python_version()}


def usual_secrets() -> list[str]:
    """A private key of 50 lines, a password, a token and an API key."""
    body = base64.b64encode(_RNG.randbytes(48 * 50)).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    key = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
    return [key, "p@ss/w0rd&'quote\"d", _word(40), f"ea_agent_{_word(46)}"]


def table(figures: dict[str, Any]) -> str:
    """For people."""
    rows = [f"{name:<28}{rate:>8.1f} MB/s" for name, rate in figures["megabytesPerSecond"].items()]
    return "\n".join([f"ready after {figures['readyMs']} ms", *rows])


def _rate(secrets: list[str], data: bytes) -> float:
    stream = Redactor(secrets).stream()
    began = time.process_time()
    for at in range(0, len(data), _CHUNK_BYTES):
        stream.feed(data[at : at + _CHUNK_BYTES])
    stream.finish()
    return round(len(data) / 1_000_000 / (time.process_time() - began), 1)


def _filled(make: Callable[[list[str]], str], secrets: list[str], size: int) -> bytes:
    """`size` bytes of what `make` gives, from 200 different calls of it."""
    pieces = b"\n".join(make(secrets).encode() for _ in range(200))
    return (pieces * (size // len(pieces) + 1))[:size]


def _word(size: int) -> str:
    return "".join(_RNG.choices(_LETTERS, k=size))


def _log_line(_: list[str]) -> str:
    words = " ".join(_word(_RNG.randint(2, 12)).lower() for _ in range(8))
    return f"2026-03-24T09:15:02Z INFO [web-{_RNG.randint(1, 99)}] {words} status=200 took={_RNG.random():.4f}"


def _base64_line(_: list[str]) -> str:
    return base64.b64encode(_RNG.randbytes(57)).decode()


def _hex_line(_: list[str]) -> str:
    return _RNG.randbytes(32).hex()


def _near_miss(secrets: list[str]) -> str:
    """A secret without its last character, another in its place."""
    lines = _RNG.choice(secrets).splitlines()
    return _RNG.choice(lines)[:-1] + "\x01"


def _beginnings(secrets: list[str]) -> str:
    """Many first seven characters, with no room between."""
    return "".join(_RNG.choice(secrets)[:7] for _ in range(12))


def _one_character(secrets: list[str]) -> str:
    return secrets[1][0] * 100


def _full_of_secrets(secrets: list[str]) -> str:
    return f"key={_RNG.choice(secrets)}"


OUTPUTS: Final[dict[str, Callable[[list[str]], str]]] = {
    "log lines": _log_line,
    "base64": _base64_line,
    "hex": _hex_line,
    "json": lambda secrets: json.dumps({"message": _log_line(secrets), "blob": _hex_line(secrets)}),
    "secrets everywhere": _full_of_secrets,
    "near misses": _near_miss,
    "beginnings of secrets": _beginnings,
    "one character of a secret": _one_character,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
