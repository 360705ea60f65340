"""From bytes to text: pieces of both streams, decoded as one text each; what is missing is said at its place."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Piece:
    """A run of bytes as it is kept."""

    stream: str
    seq: int
    """Bytes of both streams before it."""
    offset: int
    """Bytes of its stream before it."""
    data: bytes


@dataclass(frozen=True)
class Line:
    """What people and programs are shown: text, or the size of a gap."""

    kind: str
    """`chunk` or `truncated`."""
    stream: str
    seq: int
    offset: int
    end: int
    """Whoever goes on from this number has it."""
    text: str = ""
    missing: int = 0
    """Bytes of the stream that are not kept."""

    def view(self) -> dict[str, Any]:
        """As JSON."""
        place = {"stream": self.stream, "seq": self.seq, "offset": self.offset}
        return {**place, "text": self.text} if self.kind == "chunk" else {**place, "missingBytes": self.missing}


@dataclass
class _Side:
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )
    offset: int = 0


class Transcript:
    """Decodes pieces in their order. A character that is cut between two pieces comes out whole, with the second."""

    def __init__(self) -> None:
        self._sides: dict[str, _Side] = {}
        self.seq = 0
        """Number of the first byte not fed yet."""

    def feed(self, pieces: Iterable[Piece], after: int = 0) -> Iterator[Line]:
        """The lines of these pieces, less those that end at the number `after` or before.

        Pieces that were fed already are passed over.
        """
        for whole in pieces:
            for piece in _split(whole, after):
                known = max(0, self.seq - piece.seq)
                data = piece.data[known:]
                if data:
                    lines = self._feed(Piece(piece.stream, piece.seq + known, piece.offset + known, data))
                    yield from (line for line in lines if line.end > after)

    def _feed(self, piece: Piece) -> list[Line]:
        side = self._sides.setdefault(piece.stream, _Side())
        self.seq = piece.seq + len(piece.data)
        lines = []
        if piece.offset > side.offset:
            # half a character before the gap will never be completed
            lines += self._gap(piece.stream, side, piece.offset)
        text = side.decoder.decode(piece.data)
        side.offset = piece.offset + len(piece.data)
        if text:
            lines.append(Line("chunk", piece.stream, piece.seq, piece.offset, self.seq, text))
        return lines

    def finish(self, totals: dict[str, int]) -> list[Line]:
        """At the end: halves of characters, and what is missing of what the job has printed in all (bytes)."""
        lines = []
        for stream, total in totals.items():
            side = self._sides.setdefault(stream, _Side())
            lines += self._gap(stream, side, max(total, side.offset))
        return lines

    def _gap(self, stream: str, side: _Side, until: int) -> list[Line]:
        lines = []
        rest = side.decoder.decode(b"", final=True)
        if rest:
            lines.append(Line("chunk", stream, self.seq, side.offset, self.seq, rest))
        if until > side.offset:
            lines.append(Line("truncated", stream, self.seq, side.offset, self.seq, missing=until - side.offset))
        side.offset = until
        return lines


def _split(piece: Piece, at: int) -> list[Piece]:
    """The piece in two where the number `at` lies within it."""
    size = at - piece.seq
    if not 0 < size < len(piece.data):
        return [piece]
    second = Piece(piece.stream, at, piece.offset + size, piece.data[size:])
    return [Piece(piece.stream, piece.seq, piece.offset, piece.data[:size]), second]


def plain_text(lines: Iterable[Line], stream: str | None) -> str:
    """One text, gaps marked in it; of one stream or, as it came in, of both."""
    shown = (line for line in lines if stream in {None, line.stream})
    return "".join(
        line.text if line.kind == "chunk" else f"\n[... {line.missing} bytes of {line.stream} left out ...]\n"
        for line in shown
    )
