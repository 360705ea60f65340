"""The forms in which a secret turns up in output: what the redactor looks for.

`spellings` gives every form of one secret as bytes: itself, its lines, and the usual encodings of each. Forms that come
out equal (most do, for a secret of letters and digits) are given once. A form longer than `PIECE_BYTES` is given in
pieces, so that whoever searches a stream never has to hold back more than that.
"""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Final

MIN_SECRET_CHARS: Final = 6
"""Shorter secrets, and shorter lines of secrets, would cut ordinary words out of every output."""
PIECE_BYTES: Final = 512
MANY_LINES: Final = 64
"""The lines of a secret with more lines than this (a kubeconfig) are looked for as they stand only; else working out
their encodings would cost every job more than its work. The whole secret is still looked for in all its encodings."""
LARGE_CHARS: Final = 32_768
"""A secret longer than this is looked for as a whole in JSON, base64 and hex only, for the same reason."""

WRAPPED_CHARS: Final = 2048
"""A longer text is not looked for across line breaks at any place, only across those of the usual columns."""
# Bytes before the secret in its base64 group, and characters that those share with it.
_ALIGNMENTS: Final = ((0, 0), (1, 2), (2, 3))
# `base64` wraps at 76 columns, PEM and OpenSSL at 64.
_WRAP_COLUMNS: Final = (64, 76)
# `xxd -p` wraps at 60 columns; `openssl`, `od` and packet dumps put these between the bytes.
_HEX_COLUMNS: Final = 60
_HEX_JOINTS: Final = (":", " ", "-")
_URLSAFE_BASE64: Final = bytes.maketrans(b"+/", b"-_")
# The frame of a PEM block is public and stands in every certificate a tool prints.
_PEM_FRAME: Final = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")
# The characters left alone by: RFC 3986 strictly, path encoders, encodeURIComponent, encodeURI, httpx.
_URL_SAFE_SETS: Final = ("", "/", "!'()*", "!'()*;/?:@&=+$,#", "!$&'()*+,;=:/?@", "!$'()*,;:/?@")
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
# No encoder but base64 and hex changes these.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]*")
# What bash's printf %q and completion put a backslash before.
_SHELL_SPECIAL: Final = re.compile(r"""([\s'"\\|&;()<>!{}*\[\]?^$`,]|^[~#])""")
# The inside of bash's $'…': other control characters and, in the C locale, all beyond ASCII are octal.
_ANSI_C: Final = {
    7: "\\a",
    8: "\\b",
    9: "\\t",
    10: "\\n",
    11: "\\v",
    12: "\\f",
    13: "\\r",
    27: "\\E",
    39: "\\'",
    92: "\\\\",
}
_IN_DOUBLE_QUOTES: Final = re.compile(r'(["$`\\])')
_JSON_HTML: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
# System.Text.Json and others escape these too, with capital digits.
_JSON_STRICT: Final = {
    "'": "\\u0027",
    "\\u003c": "\\u003C",
    "\\u003e": "\\u003E",
    '\\"': "\\u0022",
    "+": "\\u002B",
    "`": "\\u0060",
}


def spellings(secret: str) -> set[bytes]:
    """Every form of `secret` to look for; empty when it is too short to be told from ordinary text."""
    if len(secret) < MIN_SECRET_CHARS:
        return set()
    forms: set[bytes] = set()
    lines = _lines(secret)
    for text in _whole(secret):
        forms.update(_encodings(text))
    if len(secret) <= LARGE_CHARS:
        for text in {secret, secret.strip()}:
            forms.update(_hex_dumps(_utf8(text)))
    for line in lines:
        forms.update((_utf8(line),) if len(lines) > MANY_LINES else _encodings(line))
    return {piece for form in forms for piece in _pieces(form) if len(piece) >= MIN_SECRET_CHARS}


def wrapped_spellings(secret: str) -> set[bytes]:
    """The forms to look for across line breaks at any place: base64 at three alignments and hex, of UTF-8.

    Of the secret as it stands, up to `WRAPPED_CHARS`, and of each line of one with several; in pieces, as ever.
    """
    lines = _lines(secret)
    texts = {secret, secret.strip()} if len(secret) <= WRAPPED_CHARS else set()
    if len(lines) <= MANY_LINES:
        texts |= {line for line in lines if len(line) <= WRAPPED_CHARS}
    forms: set[bytes] = set()
    for text in texts:
        if len(text) < MIN_SECRET_CHARS:
            continue
        raw = _utf8(text)
        forms |= {raw.hex().encode(), raw.hex().upper().encode()}
        for skipped, lead in _ALIGNMENTS:
            form = base64.b64encode(bytes(skipped) + raw)[lead : (skipped + len(raw)) * 8 // 6]
            forms |= {form, form.translate(_URLSAFE_BASE64)}
    return {piece for form in forms for piece in _pieces(form) if len(piece) >= MIN_SECRET_CHARS}


def _whole(secret: str) -> set[str]:
    """The secret, with its line ends folded in every usual way."""
    lines = secret.splitlines()
    if len(secret) > LARGE_CHARS:
        return {secret}
    return {secret, secret.strip(), *(joint.join(lines) for joint in ("\n", "\r\n", "\r", " ", ""))}


def _lines(secret: str) -> set[str]:
    """The lines of a secret that has several, without their indentation."""
    lines = {line.strip() for line in secret.splitlines()} - {secret.strip()}
    return {line for line in lines if len(line) >= MIN_SECRET_CHARS and not _PEM_FRAME.fullmatch(line)}


def _encodings(text: str) -> Iterator[bytes]:
    if not _PLAIN.fullmatch(text):
        for encode in (_url, _json, _markup, _shell, _python) if len(text) <= LARGE_CHARS else (_json,):
            yield from map(_utf8, encode(text))
    for raw in _raw(text):
        yield from (raw, raw.hex().encode(), raw.hex().upper().encode())
        yield from _base64(raw)


def _raw(text: str) -> Iterator[bytes]:
    yield _utf8(text)
    yield text.encode("utf-16-le", "surrogatepass")
    yield text.encode("utf-16-be", "surrogatepass")
    if not text.isascii() and max(text) <= "\xff":
        yield text.encode("latin-1")


def _hex_dumps(raw: bytes) -> Iterator[bytes]:
    whole = raw.hex()
    for form in (*(raw.hex(joint) for joint in _HEX_JOINTS), *_wrapped(whole, _HEX_COLUMNS)):
        yield from (form.encode(), form.upper().encode())


def _wrapped(form: str, width: int) -> list[str]:
    return [form[at : at + width] for at in range(0, len(form), width)]


def _base64(raw: bytes) -> Iterator[bytes]:
    """`raw` inside longer data may start at three places of a base64 group; the characters it shares are left out."""
    for skipped, lead in _ALIGNMENTS:
        encoded = base64.b64encode(bytes(skipped) + raw)
        whole_chars = (skipped + len(raw)) * 8 // 6
        for form in (encoded[lead:whole_chars], encoded[lead:].rstrip(b"="), encoded[lead:]):
            yield form
            yield form.translate(_URLSAFE_BASE64)
            if not form.isalnum():
                yield _utf8(urllib.parse.quote(form, safe=""))
    encoded = base64.b64encode(raw)
    for width in _WRAP_COLUMNS:
        if len(encoded) > width:
            yield from (encoded[at : at + width] for at in range(0, len(encoded), width))


def _url(text: str) -> Iterator[str]:
    for safe in _URL_SAFE_SETS:
        for quote in (urllib.parse.quote, urllib.parse.quote_plus):
            form = quote(text, safe=safe, errors="surrogatepass")
            yield form
            yield _PERCENT.sub(lambda match: match[0].lower(), form)


def _json(text: str) -> Iterator[str]:
    for ensure_ascii in (True, False):
        form = json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]
        safe_in_html = _replaced(form, _JSON_HTML)
        yield from (form, form.replace("/", "\\/"), safe_in_html, _replaced(safe_in_html, _JSON_STRICT))
        yield json.dumps(form, ensure_ascii=ensure_ascii)[1:-1]  # JSON that carries JSON


def _markup(text: str) -> Iterator[str]:
    bare = html.escape(text, quote=False)
    yield bare
    for double, single in (("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "&#39;"), ("&quot;", "&apos;")):
        yield bare.replace('"', double).replace("'", single)
    yield text.replace('"', '""')  # CSV
    yield text.replace("'", "''")  # SQL, PowerShell, YAML


def _shell(text: str) -> Iterator[str]:
    yield text.replace("'", "'\"'\"'")  # Python's shlex.quote
    yield text.replace("'", "'\\''")  # what bash -x prints
    yield _SHELL_SPECIAL.sub(r"\\\1", text)
    yield _IN_DOUBLE_QUOTES.sub(r"\\\1", text)
    yield "".join(_ANSI_C.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in _utf8(text))
    yield "".join(_ANSI_C.get(ord(c)) or (c if c >= " " and c != "\x7f" else f"\\{ord(c):03o}") for c in text)


def _python(text: str) -> Iterator[str]:
    shown: tuple[Callable[[object], str], ...] = (repr, ascii)
    for show in shown:
        form = show(text)[1:-1]
        yield from (form, form.replace("'", "\\'"), form.replace("\\'", "'"))
    yield repr(_utf8(text))[2:-1]


def _replaced(text: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        text = text.replace(old, new)
    return text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _pieces(form: bytes) -> Iterator[bytes]:
    """`form` in pieces that touch, each cut between characters and none too short to be looked for."""
    at = 0
    while len(form) - at > PIECE_BYTES + MIN_SECRET_CHARS:
        end = at + PIECE_BYTES
        while end > at + MIN_SECRET_CHARS and form[end] & 0xC0 == 0x80:
            end -= 1
        yield form[at:end]
        at = end
    yield form[at:]
