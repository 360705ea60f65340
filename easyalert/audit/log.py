"""The files of the record: one writer at a time, whole lines or none, bounded."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easyalert.audit.record import LINE_MAX_BYTES, Entry, Head, Mark, head_of, line_of, parse_line
from easyalert.errors import AuditError
from easyalert.files import private_folder, sync_folder

SEGMENT_BYTES: Final = 4 * 1024 * 1024
SEGMENTS_KEPT: Final = 16
"""At most 64 MiB and a little: about 150,000 jobs."""
LOCK_TIMEOUT_S: Final = 5.0
_LOCK_PAUSE_S: Final = 0.01
_SUFFIX: Final = ".jsonl"


@dataclass
class _Open:
    """The segment that is written, while the lock is held."""

    number: int
    descriptor: int
    size: int
    head: Head | None
    notes: list[Entry]
    """What has to be said first: a torn line that was cut off, damage that was found."""


class AuditLog:
    """The record in `folder`. Making one touches no disk. Raises AuditError."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segments_kept: int = SEGMENTS_KEPT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._kept = segments_kept
        self._clock = clock
        self._folder = -1
        """Descriptor of the folder, while it is locked."""

    def append(self, entries: Sequence[Entry]) -> Head | None:
        """Add entries to the chain, all or none, durably; those whose mark stands in it already are left out.

        Answers the head. A line that a power cut or a kill has torn is cut off first, and that is recorded.
        """
        with self._told(), self._exclusive():
            open_ = self._open()
            try:
                known = open_.head.mark if open_.head else None
                new = [entry for entry in entries if not _stands(entry, known)]
                if new or open_.notes:
                    self._write(open_, [*open_.notes, *new])
                return open_.head
            finally:
                os.close(open_.descriptor)

    def head(self) -> Head | None:
        """The last whole line; takes no lock, so a line that is being written is not seen yet."""
        with self._told():
            for path in reversed(segments(self.folder)):
                with path.open("rb") as file:
                    lines = _tail(file.fileno(), file.seek(0, os.SEEK_END)).split(b"\n")
                for line in reversed(lines[:-1]):
                    document = parse_line(line)
                    if document is not None:
                        return head_of(document)
        return None

    # ---- under the lock ---------------------------------------------------------------------------------------------

    def _open(self) -> _Open:
        there = segments(self.folder)
        number = int(there[-1].stem) if there else 1
        descriptor = self._descriptor(number)
        try:
            return self._opened(number, descriptor, there)
        except BaseException:
            os.close(descriptor)
            raise

    def _opened(self, number: int, descriptor: int, there: list[Path]) -> _Open:
        size = os.fstat(descriptor).st_size
        notes: list[Entry] = []
        tail = _tail(descriptor, size)
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            # lines are synchronised before anything relies on them: what is not whole was never promised
            size -= torn
            os.ftruncate(descriptor, size)
            notes.append(Entry(self._clock(), "audit.repaired", {"tornBytes": torn}))
        if size == 0:
            # a file that was begun and not written: the chain goes on from the one before it
            before = AuditLog(self.folder).head() if there else None
            return _Open(number, descriptor, 0, before, notes)
        lines = _tail(descriptor, size).rstrip(b"\n").split(b"\n")
        document = parse_line(lines[-1])
        if document is None:
            # not torn but wrong: `verify` names it. The record goes on after the last line that is sound.
            notes.append(Entry(self._clock(), "audit.damage", {"segment": number}))
            return _Open(number, descriptor, size, AuditLog(self.folder).head(), notes)
        return _Open(number, descriptor, size, head_of(document), notes)

    def _write(self, open_: _Open, entries: Sequence[Entry]) -> None:
        if open_.size >= self._segment_bytes:
            entries = [*self._next_segment(open_), *entries]
        head, lines = open_.head, []
        for entry in entries:
            line, head = line_of(entry, head)
            lines.append(line)
        raw = b"".join(lines)
        try:
            written = 0
            while written < len(raw):
                written += os.pwrite(open_.descriptor, raw[written:], open_.size + written)
            os.fsync(open_.descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(open_.descriptor, open_.size)
            raise
        sync_folder(self.folder)
        open_.head, open_.size = head, open_.size + len(raw)
        for path in segments(self.folder)[: -self._kept]:
            path.unlink()

    def _next_segment(self, open_: _Open) -> list[Entry]:
        """Go on in a new file; answers what is to be said first when the oldest file goes."""
        following = self._descriptor(open_.number + 1)
        os.close(open_.descriptor)
        open_.number, open_.descriptor, open_.size = open_.number + 1, following, 0
        leaving = segments(self.folder)[: -self._kept]
        if not leaving:
            return []
        last = leaving[-1].read_bytes().rstrip(b"\n").split(b"\n")[-1]
        document = parse_line(last)
        through = {} if document is None else {"through": document["seq"], "throughHash": document["hash"]}
        return [Entry(self._clock(), "audit.pruned", through)]

    def _descriptor(self, number: int) -> int:
        return self._owned(f"{number:06}{_SUFFIX}")

    def _owned(self, name: str) -> int:
        """In the folder that is locked, wherever its name points by now."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._folder)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            os.close(descriptor)
            raise AuditError(f"{self.folder / name} is no file of its own: move it away")
        self._hand_over(descriptor)
        return descriptor

    def _hand_over(self, descriptor: int) -> None:
        if os.geteuid() == 0:  # `sudo easyalert-agent …` must not lock the agent's account out
            owner = self.folder.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self.folder.is_symlink():
            raise AuditError(f"the audit record {self.folder} is a link: move it away")
        private_folder(self.folder)
        # held open: the agent's account may put a link in its place, and root must not follow it
        self._folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._hand_over(self._folder)
            with self._locked():
                yield
        finally:
            os.close(self._folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._owned(".lock")
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise AuditError(f"the audit record {self.folder} is locked by another process") from None
                    time.sleep(_LOCK_PAUSE_S)
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AuditError(f"the audit record {self.folder} cannot be written: {error.strerror}") from None


def segments(folder: Path) -> list[Path]:
    """The files of the record, oldest first. Raises OSError."""
    try:
        there = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    return [path for path in there if path.suffix == _SUFFIX and path.stem.isdecimal()]


def _stands(entry: Entry, known: Mark | None) -> bool:
    mark = entry.mark
    return mark is not None and known is not None and mark.journal == known.journal and mark.number <= known.number


def _tail(descriptor: int, size: int) -> bytes:
    """The last bytes of the file: at least its last two lines, begun anywhere."""
    start = max(0, size - 4 * LINE_MAX_BYTES)
    return os.pread(descriptor, size - start, start)
