"""Looking for canaries in bytes: in every spelling of `easyalert.spellings`, in UTF-16 both ways, in compressed data."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from easyalert.spellings import spellings
from tests.canaries.secrets import Canaries

UNPACK_MAX_BYTES = 8 * 1024 * 1024
_DEEP = 3
# gzip, and zlib at each of its levels of compression
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")


@dataclass(frozen=True)
class Finding:
    """A canary where it should not be."""

    where: str
    label: str
    around: bytes

    def __str__(self) -> str:
        return f"{self.where}: {self.label} in {self.around!r}"


class Search:
    """Knows all canaries of a run."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._needles = sorted({needle for core in canaries.cores() for needle in needles(core)}, key=len)

    def find(self, where: str, data: bytes, depth: int = 0) -> Iterator[Finding]:
        """What there is in `data`, compressed parts included; the first place of each spelling."""
        for needle in self._needles:
            at = data.find(needle)
            if at >= 0:
                yield self._named(where, data[max(0, at - 80) : at + 120])
        if depth < _DEEP:
            for match in _PACKED.finditer(data):
                plain = _unpacked(data[match.start() :])
                if plain:
                    yield from self.find(f"{where}, unpacked at {match.start()}", plain, depth + 1)

    def holds(self, data: bytes) -> bool:
        """Whether there is anything."""
        return any(True for _ in self.find("", data))

    def _named(self, where: str, around: bytes) -> Finding:
        for label, secret in self._canaries.all().items():
            if any(form in around for form in everything(secret)):
                return Finding(where, label, around)
        return Finding(where, "a piece of one", around)


@functools.cache
def everything(secret: str) -> frozenset[bytes]:
    """All forms that are looked for."""
    return frozenset(spellings(secret)) | {
        secret.encode("utf-16-be"),
        secret.encode("utf-16-le"),
        secret.encode("utf-16"),
    }


def needles(core: str) -> set[bytes]:
    """Of a core: shorter than any form of a whole secret that has it in its middle, so the ends of base64 are cut."""
    forms = spellings(core) | {core.encode("utf-16-be")}
    shortest = {form for form in forms if not any(other != form and other in form for other in forms)}
    return {form for form in shortest if len(form) >= len(core)}


def _unpacked(data: bytes) -> bytes:
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        unpacking = zlib.decompressobj(bits)
        plain = b""
        try:
            plain = unpacking.decompress(data[:UNPACK_MAX_BYTES], UNPACK_MAX_BYTES)
        except zlib.error:
            continue
        if plain:
            return plain
    return b""
