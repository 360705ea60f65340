"""Bounded output: head and tail are kept, the exact size is known, memory stays small however much is printed."""

from __future__ import annotations

from collections import deque
from typing import Final

from easyalert.protocol.limits import OUTPUT_STREAM_MAX_CHARS

_TAIL_SHARE: Final = 0.5


class BoundedOutput:
    """Collects one stream of bytes. Limits count bytes, so that a megabyte is one (contract 2.3 counts characters)."""

    def __init__(self, limit: int = OUTPUT_STREAM_MAX_CHARS) -> None:
        self._tail_limit = int(limit * _TAIL_SHARE)
        self._head_limit = limit - self._tail_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.size = 0
        """Bytes received in all."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        self.size += len(chunk)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        self._tail.append(chunk[-self._tail_limit :])
        self._tail_size += len(self._tail[-1])
        while self._tail_size - len(self._tail[0]) >= self._tail_limit:
            self._tail_size -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        """True when something between head and tail was left out."""
        return self.size > self._head_limit + self._tail_limit

    def text(self, encoding: str = "utf-8") -> str:
        """Decoded with replacement. When truncated, a line in the middle says how much is missing."""
        tail = b"".join(self._tail)
        if not self.truncated:
            return (bytes(self._head) + tail).decode(encoding, "replace")
        tail = tail[-self._tail_limit :]
        head = bytes(self._head)
        # cut at line ends where there is one near the cut, so that no half line looks like a whole one
        head = head[: head.rfind(b"\n") + 1] or head
        tail = tail[tail.find(b"\n") + 1 :] or tail
        missing = self.size - len(head) - len(tail)
        gap = f"\n[... {missing} bytes left out ...]\n"
        return head.decode(encoding, "replace") + gap + tail.decode(encoding, "replace")


def command_output(stdout: BoundedOutput, stderr: BoundedOutput) -> dict[str, object]:
    """The output of command-like actions (contract 2.3); sizes are bytes and present only when truncated."""
    truncated = stdout.truncated or stderr.truncated
    output: dict[str, object] = {"stdout": stdout.text(), "stderr": stderr.text(), "truncated": truncated}
    if truncated:
        output |= {"originalStdoutSize": stdout.size, "originalStderrSize": stderr.size}
    return output
