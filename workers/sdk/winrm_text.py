"""What a Windows console prints, as UTF-8: code pages, UTF-16, and the XML in which PowerShell says its errors.

All of it is done as the output comes and before secrets are looked for: in UTF-16 or in XML nobody would find them.
"""

from __future__ import annotations

import codecs
import re
from typing import Final
from xml.sax.saxutils import unescape

from workers.sdk.winrm_connection import codec_of

_MARK: Final = "#< CLIXML"
_TAG: Final = re.compile(r'<(?P<name>Objs|Obj|S)(?=[ >/])(?:[^>]*? S="(?P<stream>\w*)")?[^>]*?(?P<empty>/?)>')
_ELEMENT_MAX_CHARS: Final = 1_048_576
"""Of one element. What is longer is no message of PowerShell's and is passed on as it is."""
_ESCAPED: Final = re.compile(r"(?:_x[0-9A-Fa-f]{4}_)+")
_ENTITIES: Final = {"&quot;": '"', "&apos;": "'"}
_TITLES: Final = {"error": "", "information": "", "warning": "WARNING: ", "verbose": "VERBOSE: ", "debug": "DEBUG: "}
_SAMPLE: Final = 64


class ConsoleText:
    """Decodes one stream. Programs that print UTF-16 whatever the console says (wsl.exe) are known by their bytes."""

    def __init__(self, codepage: int) -> None:
        self._codec = codec_of(codepage)
        self._decoder: codecs.IncrementalDecoder | None = None
        self._begun = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """The next piece; what cannot be decoded becomes U+FFFD. NUL characters are left out."""
        if self._decoder is None:
            if not data:
                return ""
            chosen = codecs.lookup("utf-16-le") if _is_utf_16(data) else self._codec
            self._decoder = (chosen.incrementaldecoder or codecs.getincrementaldecoder("latin-1"))("replace")
        text = self._decoder.decode(data, final)
        if text and not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        # UTF-16 in the middle of a stream: of its ASCII, the rest is readable and can be redacted
        return text.replace("\0", "")


def _is_utf_16(data: bytes) -> bool:
    if data.startswith(b"\xff\xfe"):
        return True
    sample = data[:_SAMPLE]
    return len(sample) >= 4 and not any(sample[1::2]) and all(sample[0::2])


class ErrorText:
    """Takes the messages out of PowerShell's XML (CLIXML), leaves progress bars out, and passes on all that is text.

    One stream may hold several documents, and text of other programs between them. What follows the mark and is no
    such document is passed on as it is.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._inside = False

    def feed(self, text: str, *, final: bool = False) -> str:
        """What can be said of `text` and of what waited."""
        self._waiting += text
        said: list[str] = []
        while self._waiting and (self._element(said) if self._inside else self._text(said)):
            pass
        if final or (self._inside and len(self._waiting) > _ELEMENT_MAX_CHARS):
            said.append(self._waiting)
            self._waiting, self._inside = "", False
        return "".join(said)

    def _text(self, said: list[str]) -> bool:
        before, mark, after = self._waiting.partition(_MARK)
        kept = 0 if mark else _overlap(before)
        said.append(before[: len(before) - kept])
        self._waiting, self._inside = (after, True) if mark else (before[len(before) - kept :], False)
        return bool(mark)

    def _element(self, said: list[str]) -> bool:
        """Take the next one; False when its end has not come yet."""
        self._waiting = self._waiting.lstrip()
        if self._waiting.startswith("</Objs>"):
            self._waiting, self._inside = self._waiting.removeprefix("</Objs>"), False
            return True
        tag = _TAG.match(self._waiting)
        if tag is None:
            if ">" in self._waiting or (self._waiting and self._waiting[0] != "<"):
                self._inside = False  # no document after all
                return True
            return False
        end = tag.end() if tag["name"] == "Objs" or tag["empty"] else _end_of(tag["name"], self._waiting)
        if end:
            said.append(_message(tag, self._waiting[tag.end() : end]) if tag["name"] == "S" else "")
            self._waiting = self._waiting[end:]
        return bool(end)


def _overlap(text: str) -> int:
    """How many characters at the end of `text` may be the beginning of the mark."""
    return next((size for size in range(min(len(_MARK) - 1, len(text)), 0, -1) if _MARK.startswith(text[-size:])), 0)


def _end_of(name: str, text: str) -> int:
    """Where the element that begins `text` ends; 0 when that has not come yet. Objects may hold objects."""
    depth = 0
    for found in re.finditer(rf"<(/?){name}(?=[ >/])[^>]*?(/?)>", text):
        depth += -1 if found[1] else 0 if found[2] else 1
        if depth == 0:
            return found.end()
    return 0


def _message(tag: re.Match[str], rest: str) -> str:
    stream = tag["stream"].lower()
    if stream not in _TITLES:
        return ""
    text = _ESCAPED.sub(_characters, unescape(rest.removesuffix("</S>"), _ENTITIES))
    title = _TITLES[stream]
    return f"{title}{text}" if not title or text.endswith("\n") else f"{title}{text}\n"


def _characters(match: re.Match[str]) -> str:
    """`_x000D__x000A_`: UTF-16 units, several to a character where that needs them."""
    units = (part.strip("_x") for part in re.findall(r"_x[0-9A-Fa-f]{4}_", match.group()))
    return b"".join(int(unit, 16).to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace")
