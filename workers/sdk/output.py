"""Bounded output: head and tail are kept, the exact size is known, memory stays small however much is printed."""

from __future__ import annotations

from typing import Final

from easyalert.protocol.limits import OUTPUT_STREAM_MAX_CHARS

_TAIL_SHARE: Final = 0.5
_LINE_SHARE: Final = 8
"""A cut is moved to a line's end only when that costs at most one eighth of the half."""


class BoundedOutput:
    """Collects one stream of bytes. Limits count bytes, so that a megabyte is one (contract 2.3 counts characters).

    Memory: at most `limit` and half of it again.
    """

    def __init__(self, limit: int = OUTPUT_STREAM_MAX_CHARS) -> None:
        self._tail_limit = int(limit * _TAIL_SHARE)
        self._head_limit = limit - self._tail_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0
        """Bytes received in all."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        self.size += len(chunk)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if len(chunk) >= self._tail_limit:
            self._tail[:] = chunk[len(chunk) - self._tail_limit :]
            return
        self._tail += chunk
        if len(self._tail) >= 2 * self._tail_limit:  # seldom, so that each byte is moved once on the average
            del self._tail[: len(self._tail) - self._tail_limit]

    @property
    def truncated(self) -> bool:
        """True when something between head and tail was left out."""
        return self.size > self._head_limit + self._tail_limit

    def text(self, encoding: str = "utf-8") -> str:
        """Decoded with replacement. When truncated, a line in the middle says how many bytes are missing."""
        if not self.truncated:
            return bytes(self._head + self._tail).decode(encoding, "replace")
        head = _cut_end(bytes(self._head))
        tail = _cut_start(bytes(self._tail[len(self._tail) - self._tail_limit :]))
        missing = self.size - len(head) - len(tail)
        gap = f"\n[... {missing} bytes left out ...]\n"
        return head.decode(encoding, "replace") + gap + tail.decode(encoding, "replace")


# Cut at line ends where there is one near the cut, so that no half line looks like a whole one; else between characters
# of UTF-8, whose continuation bytes are 10xxxxxx.


def _cut_end(head: bytes) -> bytes:
    line = head.rfind(b"\n") + 1
    if line and len(head) - line <= len(head) // _LINE_SHARE:
        return head[:line]
    for back in range(1, min(4, len(head)) + 1):
        first = head[-back]
        if first & 0xC0 == 0x80:
            continue
        needed = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1
        return head[:-back] if needed > back else head
    return head


def _cut_start(tail: bytes) -> bytes:
    line = tail.find(b"\n") + 1
    if line and line <= len(tail) // _LINE_SHARE:
        return tail[line:]
    start = 0
    while start < min(3, len(tail)) and tail[start] & 0xC0 == 0x80:
        start += 1
    return tail[start:]


def command_output(stdout: BoundedOutput, stderr: BoundedOutput) -> dict[str, object]:
    """The output of command-like actions (contract 2.3); sizes are bytes and present only when truncated."""
    truncated = stdout.truncated or stderr.truncated
    output: dict[str, object] = {"stdout": stdout.text(), "stderr": stderr.text(), "truncated": truncated}
    if truncated:
        output |= {"originalStdoutSize": stdout.size, "originalStderrSize": stderr.size}
    return output
