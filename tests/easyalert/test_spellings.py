"""Every encoder a secret commonly passes through is run here for real; its output must hold a form we look for."""

import base64
import binascii
import html
import json
import pprint
import shlex
import subprocess
import time
import urllib.parse

import httpx
import pytest

from easyalert.spellings import MIN_SECRET_CHARS, PIECE_BYTES, spellings

SECRETS = [
    "hunter2-hunter2",
    "p@ss w0rd/+=&?#%",
    """it's "quoted" \\ and $HOME `id`""",
    "пароль-übel-密码",
    "<b>&amp;</b>'secret'",
    "tab\tand\x1bescape",
    "a,b;c|d{e}f[g](h)!i~j*k^l",
]
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq+kiG9w0BAQEF/AASCBKcw==\nggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n"

ENCODERS = {
    "raw": str,
    "hex": lambda s: s.encode().hex(),
    "HEX": lambda s: s.encode().hex().upper(),
    "hex with colons": lambda s: s.encode().hex(":"),
    "HEX with dashes": lambda s: s.encode().hex("-").upper(),
    "json": json.dumps,
    "json utf-8": lambda s: json.dumps(s, ensure_ascii=False),
    "json slashes": lambda s: json.dumps(s).replace("/", "\\/"),
    "json go": lambda s: (
        json.dumps(s, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    ),
    "json in json": lambda s: json.dumps(json.dumps({"key": s})),
    "html": html.escape,
    "html text": lambda s: html.escape(s, quote=False),
    "html numeric": lambda s: html.escape(s).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "quote": urllib.parse.quote,
    "quote all": lambda s: urllib.parse.quote(s, safe=""),
    "quote lower": lambda s: "".join(
        c if (c.isalnum() and c.isascii()) or c in "_.-~" else "".join(f"%{b:02x}" for b in c.encode()) for c in s
    ),
    "form": lambda s: urllib.parse.urlencode({"k": s}),
    "httpx query": lambda s: str(httpx.URL("https://host/", params={"k": s})),
    "encodeURIComponent": lambda s: urllib.parse.quote(s, safe="!'()*"),
    "shlex": shlex.quote,
    "double quotes": lambda s: '"' + "".join("\\" + c if c in '"$`\\' else c for c in s) + '"',
    "repr": repr,
    "repr in repr": lambda s: repr({"k": [s, "it's"]}),
    "ascii": ascii,
    "repr bytes": lambda s: repr(s.encode()),
    "pprint": lambda s: pprint.pformat({"k": s}, width=1000),
    "sql": lambda s: "'" + s.replace("'", "''") + "'",
    "csv": lambda s: '"' + s.replace('"', '""') + '"',
}


def found(secret, text):
    data = text if isinstance(text, bytes) else text.encode()
    return any(form in data for form in spellings(secret))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("secret", [*SECRETS, PEM])
def test_encoders(secret, encoder):
    assert found(secret, ENCODERS[encoder](secret))


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user:x"])
@pytest.mark.parametrize("after", ["", "!", "!!", "!!!"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", SECRETS)
def test_base64_at_every_alignment(secret, encode, before, after):
    encoded = encode((before + secret + after).encode())
    assert found(secret, encoded)
    assert found(secret, encoded.rstrip(b"="))
    assert found(secret, urllib.parse.quote(encoded, safe=""))


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("length", range(6, 15))
def test_base64_of_the_secret_alone_leaves_nothing(encode, length):
    secret = "s3cr3t>?s3cr3t!"[:length]
    encoded = encode(secret.encode())
    assert encoded in spellings(secret)
    assert encoded.rstrip(b"=") in spellings(secret)


@pytest.mark.parametrize("secret", [*SECRETS, PEM])
@pytest.mark.parametrize(
    "command",
    [
        'set -x; : "$1"',
        'printf %q "$1"',
        'echo "${1@Q}"',
        "printf '%s' \"$1\" | base64",
        "printf '%s' \"$1\" | od -An -tx1 -v | tr -d ' \\n'",
        "printf '%s' \"$1\" | od -An -tx1 -v -w2000",
        "printf '%s' \"$1\" | od -An -tx1 -v | tr -d ' \\n' | fold -w 60",
    ],
)
def test_what_bash_prints(secret, command):
    shown = subprocess.run(
        ["bash", "-c", command, "bash", secret], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert found(secret, shown.stdout + shown.stderr)


def test_wrapped_base64():
    secret = "x" * 10 + "0123456789abcdef" * 10
    for line in binascii.b2a_base64(secret.encode() * 1).splitlines():
        assert found(secret, line)
    encoded = base64.b64encode(secret.encode()).decode()
    for width in (64, 76):
        for at in range(0, len(encoded) - width, width):
            assert found(secret, encoded[at : at + width])


def test_every_line_of_a_multi_line_secret():
    assert found(PEM, "key: MIIEvQIBADANBgkq+kiG9w0BAQEF/AASCBKcw== ...")
    assert found(PEM, "    ggSjAgEAAoIBAQC7VJTUt9Us8cKj\r\n")
    assert found(PEM, base64.b64encode(b"MIIEvQIBADANBgkq+kiG9w0BAQEF/AASCBKcw=="))


def test_the_public_frame_of_a_key_is_no_secret():
    assert not found(PEM, "-----BEGIN PRIVATE KEY-----\n")


@pytest.mark.parametrize("joint", ["", " ", "\r\n", "\r", "\\n"])
def test_folded_newlines(joint):
    folded = joint.join(PEM.strip().split("\n"))
    assert folded.encode() in spellings(PEM)


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1"])
def test_other_character_sets(encoding):
    assert found("übel-gemein", "übel-gemein".encode(encoding))


@pytest.mark.parametrize("secret", ["", "short", "äöüäö"])
def test_short_secrets_have_no_form(secret):
    assert spellings(secret) == set()


def test_short_lines_have_no_form():
    assert not found("first-line\nyes\nlast-line", "yes")


@pytest.mark.parametrize("secret", [*SECRETS, PEM, "ä" * 1000, "x" * (PIECE_BYTES + 1), "x" * (PIECE_BYTES * 2 + 3)])
def test_forms_are_never_too_short_or_too_long(secret):
    assert all(MIN_SECRET_CHARS <= len(form) <= PIECE_BYTES + MIN_SECRET_CHARS for form in spellings(secret))


def test_a_lone_surrogate_in_a_secret():
    assert found("secret\ud800", json.dumps("secret\ud800"))


def test_a_secret_of_many_lines_costs_no_minutes():
    secret = "\n".join(f"line {number}: {number * 7919:032x}" for number in range(20_000))
    started = time.monotonic()
    assert found(secret, f"line 19999: {19999 * 7919:032x}")
    assert time.monotonic() - started < 20
