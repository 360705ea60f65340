"""How far one job's live output has got: what is read from its spool, what of it to send, what the answer means."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from easyalert.protocol.limits import OUTPUT_CHUNK_MAX_BYTES, OUTPUT_REQUEST_MAX_BYTES
from easyalert.protocol.messages import OutputChunk, OutputTotals
from easyalert.spool import STREAMS, Frame, JobOfSpool, Place, SpoolReader, Stream

_READ_BYTES: Final = OUTPUT_REQUEST_MAX_BYTES - OUTPUT_CHUNK_MAX_BYTES
"""The last frame read may pass this by its own length."""


@dataclass
class Batch:
    """What one request carries, and where it leads."""

    chunks: list[OutputChunk] = field(default_factory=list)
    totals: OutputTotals | None = None
    """Set when this is the end."""
    end: int = 0
    """`seq` after its last chunk."""
    place: Place = field(default_factory=Place)
    read: bool = False
    """Whether the spool held anything new."""
    size: int = 0


class Sending:
    """One job's. Raises OSError for a spool that cannot be read."""

    def __init__(self, key: str, folder: Path) -> None:
        self.key = key
        self.folder = folder
        self.job: JobOfSpool | None = None
        self.ended = False
        self.quiet = False
        """Whether the last look found nothing new."""
        self.refused = False
        """The control plane wants none of it."""
        self._reader = SpoolReader(folder)
        self._place = Place()
        self._next = 0
        self._sizes: dict[Stream, int] = dict.fromkeys(STREAMS, 0)

    def batch(self) -> Batch:
        """What comes next; the same again until `answered`."""
        frames, place = self._reader.read(self._place, _READ_BYTES)
        batch = Batch(end=self._next, place=place, read=bool(frames))
        self.quiet = not frames
        pieces: list[Frame] = []
        for frame in frames:
            self._note(frame)
            if frame.stream is not None and frame.end > self._next:
                cut = max(0, self._next - frame.seq)
                _append(pieces, Frame(frame.stream, frame.seq + cut, frame.offset + cut, frame.data[cut:]))
        batch.chunks = [_chunk(piece) for piece in pieces]
        batch.size = sum(len(piece.data) for piece in pieces)
        if pieces:
            batch.end = pieces[-1].end
        if self.ended and batch.size < _READ_BYTES and not self._reader.read(place, 1)[0]:
            batch.totals = OutputTotals(stdout=self._sizes["stdout"], stderr=self._sizes["stderr"])
        return batch

    def pass_over(self, batch: Batch) -> None:
        """Go on after a batch that held nothing to send, or that nobody wants."""
        self._place = batch.place

    def answered(self, batch: Batch, expected: int) -> bool:
        """The control plane expects `expected` next. False: it has taken nothing of the batch."""
        if expected >= batch.end:
            self._next, self._place = expected, batch.place
            return True
        if expected < self._next:  # it has lost what it had: a backup was restored, or its power cut
            self._place = Place()
        moved = expected > self._next
        self._next = expected
        return moved

    def _note(self, frame: Frame) -> None:
        if frame.stream is not None:
            self._sizes[frame.stream] = max(self._sizes[frame.stream], frame.offset + len(frame.data))
        elif frame.job is not None:
            self.job, self.ended = frame.job, False
        elif frame.totals is not None:
            self.ended = True
            for stream, total in zip(STREAMS, frame.totals, strict=True):
                self._sizes[stream] = max(self._sizes[stream], total)


def _append(pieces: list[Frame], piece: Frame) -> None:
    """Join what belongs together: a program that prints line by line must not cost a chunk per line."""
    last = pieces[-1] if pieces else None
    fits = last is not None and len(last.data) + len(piece.data) <= OUTPUT_CHUNK_MAX_BYTES
    if last is not None and fits and last.stream == piece.stream and last.end == piece.seq:
        pieces[-1] = Frame(last.stream, last.seq, last.offset, last.data + piece.data)
    else:
        pieces.append(piece)


def _chunk(piece: Frame) -> OutputChunk:
    if piece.stream is None:
        raise ValueError("a frame without output is no chunk")
    return OutputChunk(seq=piece.seq, stream=piece.stream, offset=piece.offset, data=base64.b64encode(piece.data))
