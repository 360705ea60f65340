"""The form of a segment file: frames of a fixed header and bytes.

A frame that is torn, because its writer was killed or the disk was full, ends the segment: its writer has gone on in
another one, or not at all.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal

from easyalert.runtime import ProcessIdentity

Stream = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")

FRAME_MAX: Final = 65_536
"""Most bytes of output in one frame."""
_HEADER: Final = struct.Struct(">BBIQQ")
HEADER_BYTES: Final = _HEADER.size
_MAGIC: Final = 0xEA  # a file that grew without its bytes (power cut) holds zeros
_JOB: Final = 0
_END: Final = 3
_STREAM_CODES: Final[dict[int, Stream]] = {1: "stdout", 2: "stderr"}
_CODES: Final = {stream: code for code, stream in _STREAM_CODES.items()}


@dataclass(frozen=True)
class JobOfSpool:
    """Whose output it is, and which process prints it."""

    job_id: str
    attempt: int | None
    owner: ProcessIdentity


@dataclass(frozen=True)
class Frame:
    """One piece. `stream` None: no output but `job` (a run begins) or `totals` (it has ended in good order)."""

    stream: Stream | None
    seq: int = 0
    """Bytes of output, of both streams together, before this piece."""
    offset: int = 0
    """Bytes of the same stream before this piece."""
    data: bytes = b""
    job: JobOfSpool | None = None
    totals: tuple[int, int] | None = None
    """Bytes of stdout and stderr in all, those that could not be written included."""

    @property
    def end(self) -> int:
        """`seq` of what follows."""
        return self.seq + len(self.data)


def header(stream: Stream, seq: int, offset: int, length: int) -> bytes:
    """What stands before `length` bytes of output."""
    return _HEADER.pack(_MAGIC, _CODES[stream], length, seq, offset)


def job_frame(job: JobOfSpool) -> bytes:
    """The frame that begins a run."""
    owner = job.owner
    said = [job.job_id, job.attempt, owner.boot_id, owner.pid, owner.start_ticks]
    text = json.dumps(said).encode()
    return _HEADER.pack(_MAGIC, _JOB, len(text), 0, 0) + text


def end_frame(stdout: int, stderr: int) -> bytes:
    """The frame that ends a run, with the bytes of each stream."""
    return _HEADER.pack(_MAGIC, _END, 0, stdout, stderr)


def frame_length(head: bytes) -> int | None:
    """Bytes that follow this header; None: it is none."""
    if len(head) < HEADER_BYTES:
        return None
    magic, code, length, _, _ = _HEADER.unpack(head[:HEADER_BYTES])
    if magic != _MAGIC or length > FRAME_MAX or (code not in {_JOB, _END} and code not in _STREAM_CODES):
        return None
    return int(length)


def parse(head: bytes, data: bytes) -> Frame | None:
    """The frame of a header `frame_length` has accepted, and its bytes; None: its text is damaged."""
    _, code, _, seq, offset = _HEADER.unpack(head)
    if code in _STREAM_CODES:
        return Frame(_STREAM_CODES[code], seq, offset, data)
    if code == _END:
        return Frame(None, totals=(seq, offset))
    try:
        return Frame(None, job=_job(json.loads(data)))
    except (ValueError, TypeError):
        return None


def _job(said: Any) -> JobOfSpool:
    job_id, attempt, boot, pid, ticks = said
    return JobOfSpool(str(job_id), None if attempt is None else int(attempt), ProcessIdentity(boot, pid, ticks))
