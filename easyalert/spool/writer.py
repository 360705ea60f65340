"""Writing a job's spool: bounded, at once in the kernel's hands, never in the way of the job."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Final

from easyalert.files import private_folder
from easyalert.spool.frames import FRAME_MAX, STREAMS, JobOfSpool, Stream, end_frame, header, job_frame
from easyalert.spool.reader import SpoolReader, remove_spool, segment_name, segment_numbers

log = logging.getLogger(__name__)

HEAD_BYTES: Final = 1_048_576
"""This much of the beginning is never dropped."""
TAIL_BYTES: Final = 1_048_576
"""At least this much of the end is there."""
SEGMENT_BYTES: Final = 262_144
LEAVES_FREE_BYTES: Final = 16 * 1024 * 1024
"""With less space than this on the disk no segment is begun: it is for results."""
_AGAIN_S: Final = 1.0


class SpoolWriter:
    """One job's. Nothing is on disk before the first byte. No method raises for the disk: what cannot be written is
    left out, and shows as missing.

    Not for several threads at once.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        job: JobOfSpool,
        *,
        head: int = HEAD_BYTES,
        tail: int = TAIL_BYTES,
        segment: int = SEGMENT_BYTES,
    ) -> None:
        self._folder = folder
        self._key = key
        self._job = job
        self._limits = (head, tail, segment)
        self._sizes: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self._place: int | None = None
        """Descriptor of the job's folder, so that its name may change."""
        self._file: int | None = None
        self._filled = 0
        """Bytes in the open segment."""
        self._head_filled = 0
        self._number = 0
        self._tail: deque[int] = deque()
        """Numbers of the segments that may be dropped."""
        self._in_tail = False
        self._introduced = False
        self._not_before = 0.0
        self.shown = False

    @property
    def begun(self) -> bool:
        """Whether anything was printed."""
        return self._place is not None

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take the next piece of redacted output."""
        if self._place is None and data and time.monotonic() >= self._not_before:
            self._begin()
        for start in range(0, len(data), FRAME_MAX):
            piece = data[start : start + FRAME_MAX]
            seq, offset = sum(self._sizes.values()), self._sizes[stream]
            self._sizes[stream] += len(piece)
            self._write([header(stream, seq, offset, len(piece)), piece], len(piece))

    def show(self) -> None:
        """Let others find it."""
        if not self.shown and self.begun:
            self.shown = True
            with contextlib.suppress(OSError):
                self._path(hidden=True).rename(self._path(hidden=False))

    def close(self) -> None:
        """The run has ended, and its result is written. What was never shown is removed."""
        if not self.begun:
            return
        if self.shown:
            self._write([end_frame(self._sizes["stdout"], self._sizes["stderr"])], 0)
        self._close_segment()
        if self._place is not None:
            os.close(self._place)
            self._place = None
        if not self.shown:
            remove_spool(self._path(hidden=True))

    def _path(self, *, hidden: bool) -> Path:
        return self._folder / (f".{self._key}" if hidden else self._key)

    def _write(self, parts: list[bytes], output: int) -> None:
        try:
            if self._file is None and not self._open():
                return
            if self._file is None or os.writev(self._file, parts) != sum(map(len, parts)):
                raise OSError("the disk took only a part of it")  # noqa: TRY301 - handled as every failure is
        except OSError as error:
            # what comes after a torn frame goes into another segment, where it can be found
            self._failed(error)
            return
        self._filled += output
        if self._in_tail:
            self._drop()
        else:
            self._head_filled += output
        if self._filled >= self._limits[2]:
            self._close_segment()

    def _open(self) -> bool:
        if self._place is None or time.monotonic() < self._not_before:
            return False
        found = os.fstatvfs(self._place)
        if found.f_bavail * found.f_frsize < LEAVES_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        name = segment_name(self._number + 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(name, flags, 0o600, dir_fd=self._place)
        self._number += 1
        self._filled = 0
        self._in_tail = self._head_filled >= self._limits[0]
        if self._in_tail:
            self._tail.append(self._number)
        if not self._introduced:
            os.write(self._file, job_frame(self._job))
            self._introduced = True
        return True

    def _begin(self) -> None:
        """Make the folder; a run that follows a dead worker's on the same job goes on where that one stopped."""
        try:
            private_folder(self._folder)
            hidden, shown = self._path(hidden=True), self._path(hidden=False)
            self.shown = shown.is_dir()
            if not self.shown:
                remove_spool(hidden)
                hidden.mkdir(mode=0o700)
            path = shown if self.shown else hidden
            self._place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            if self.shown:
                self._resume(path)
        except OSError as error:
            self._failed(error)

    def _resume(self, path: Path) -> None:
        numbers = segment_numbers(path)
        self._number = max(numbers, default=0)
        self._head_filled = self._limits[0]
        self._tail.extend(numbers[-(self._limits[1] // self._limits[2] + 1) :])
        for stream, size in SpoolReader(path).sizes().items():
            self._sizes[stream] += size

    def _failed(self, error: OSError) -> None:
        if self._not_before == 0.0:
            log.warning("the live output of job %s has gaps: %s", self._job.job_id, error)
        self._close_segment()
        self._not_before = time.monotonic() + _AGAIN_S

    def _drop(self) -> None:
        """Drop the oldest tail segments that the tail can do without."""
        _, tail, segment = self._limits
        while (len(self._tail) - 2) * segment >= tail:
            with contextlib.suppress(OSError):
                os.unlink(segment_name(self._tail[0]), dir_fd=self._place)
            self._tail.popleft()

    def _close_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
