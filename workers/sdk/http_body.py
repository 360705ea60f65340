"""The body of an HTTP answer: decompressed within bounds, decoded, parsed, redacted before it is cut."""

from __future__ import annotations

import codecs
import json
import math
import re
import zlib
from email.message import Message
from typing import Any, Final

from easyalert.redact import Redactor

BODY_MAX_BYTES: Final = 1_048_576
"""Of the decompressed body; the rest is not read (contract 2.7)."""

# Read beyond the limit, so that a secret that lies across it is whole when it is looked for.
_MARGIN_BYTES: Final = 65_536
_PARSED_MAX_DEPTH: Final = 200
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# Python knows these as text, but they are slow on purpose-made input, run escapes, or exist on one platform only.
_UNWANTED_CODECS: Final = frozenset(
    {"idna", "punycode", "utf-7", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"}
)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class HttpBody:
    """Collects one answer's body, piece by piece, as it comes from the network.

    `content_encoding` and `content_type` are the header's values. A body that is no valid gzip or deflate data, or of
    another encoding, is kept as it came.
    """

    def __init__(self, *, content_encoding: str = "", content_type: str = "") -> None:
        self._content_type = content_type
        self._bits = _WINDOW_BITS.get(content_encoding.strip().lower(), 0)
        self._inflate = zlib.decompressobj(self._bits) if self._bits else None
        self._kept = bytearray()
        self._unsure = bytearray()  # fed, but nothing came out of it yet
        self._damaged = False
        self.more_to_come = False
        """True while the answer has not ended: what looks like the end of the body may be the middle of a secret."""

    @property
    def full(self) -> bool:
        """True when reading on is of no use."""
        return self._damaged or len(self._kept) >= BODY_MAX_BYTES + _MARGIN_BYTES

    @property
    def truncated(self) -> bool:
        """True when there is more of the body than `text` gives: it is longer, damaged, or was cut off on its way."""
        return self._damaged or self.more_to_come or len(self._kept) > BODY_MAX_BYTES

    def feed(self, piece: bytes) -> None:
        """Take the next piece; however well it is compressed, no more than the limit is unpacked."""
        while piece and not self.full:
            room = BODY_MAX_BYTES + _MARGIN_BYTES - len(self._kept)
            if self._inflate is None:
                self._kept += piece[:room]
                return
            if not self._kept and len(self._unsure) <= _MARGIN_BYTES:
                self._unsure += piece
            try:
                self._kept += self._inflate.decompress(piece, room)
            except zlib.error:
                piece = self._read_otherwise()
                continue
            piece = self._inflate.unused_data  # a gzip file may hold several members, one after the other
            if piece:
                self._inflate = zlib.decompressobj(self._bits)

    def _read_otherwise(self) -> bytes:
        """What to read again, and how, when the data is not compressed as the header says."""
        again, self._unsure = bytes(self._unsure), bytearray()
        if self._kept or len(again) > _MARGIN_BYTES:
            self._damaged = True
            return b""
        if self._bits == _WINDOW_BITS["deflate"]:  # some servers mean the bare form (RFC 9110, 8.4.1.2)
            self._bits = -15
            self._inflate = zlib.decompressobj(self._bits)
        else:
            self._inflate = None
        return again

    def text(self) -> str:
        """The kept body, up to the limit, in the charset of the answer (else UTF-8), never with lone surrogates."""
        return self._decode(bytes(self._kept[:BODY_MAX_BYTES]))

    def redacted(self, redactor: Redactor) -> str:
        """As `text`, with the secrets taken out before the cut."""
        whole = self._decode(bytes(self._kept))
        if not self.full and not self.more_to_come:
            return redactor.text(whole).encode()[:BODY_MAX_BYTES].decode("utf-8", "ignore")
        # The rest was not read, or never came: what may be the beginning of a secret at the end is left out. Where
        # replacements are shorter than secrets, that end may move to before the limit.
        clean = redactor.stream().feed(whole.encode())
        return clean[:BODY_MAX_BYTES].decode("utf-8", "ignore")

    def parsed(self) -> Any:
        """The JSON value, when the answer says it is JSON and it parses; else None.

        Safe to be sent on: what JSON has no word for (NaN, infinities) is None, lone surrogates are replaced, and
        a value nested deeper than any reader likes is not parsed.
        """
        if self.truncated or "json" not in self._content_type.lower():
            return None
        try:
            return parse_json(self.text().removeprefix("\ufeff"))
        except ValueError:
            return None

    def _decode(self, data: bytes) -> str:
        return _LONE_SURROGATE.sub("\ufffd", data.decode(_charset(self._content_type), "replace"))


def parse_json(text: str) -> Any:
    """A JSON text as a value that can be written as JSON again. Raises ValueError, also for absurd nesting."""
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _without_surrogates(value, _PARSED_MAX_DEPTH)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _without_surrogates(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_LONE_SURROGATE.sub("\ufffd", key): _without_surrogates(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item, depth - 1) for item in value]
    return value


def _charset(content_type: str) -> str:
    message = Message()
    message["content-type"] = content_type
    try:
        codec = codecs.lookup(str(message.get_content_charset() or "utf-8"))
    except (LookupError, ValueError):
        return "utf-8"
    is_text: bool = getattr(codec, "_is_text_encoding", True)
    return codec.name if is_text and codec.name.replace("_", "-") not in _UNWANTED_CODECS else "utf-8"
