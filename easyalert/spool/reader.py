"""Reading spools while they are written, and the folders they are in."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from easyalert.spool.frames import HEADER_BYTES, STREAMS, Frame, Stream, frame_length, parse

_NAME_DIGITS: Final = 10


@dataclass(frozen=True)
class Place:
    """Where to read on: a segment, and a byte in it."""

    segment: int = 0
    byte: int = 0


class SpoolReader:
    """Reads one job's spool from a place that the caller keeps. Raises OSError other than for what has vanished."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, place: Place, limit: int) -> tuple[list[Frame], Place]:
        """Frames from `place` on, about `limit` bytes at most, and where to read on. No frames: there are no more yet.

        What was dropped meanwhile is passed over.
        """
        frames: list[Frame] = []
        left = limit
        # listed first: whatever is in the list but its last is complete
        for number in segment_numbers(self._folder):
            if number < place.segment or left <= 0:
                continue
            if number > place.segment:
                place = Place(number)
            for frame, after in self._frames(place):
                frames.append(frame)
                place = after
                left -= len(frame.data)
                if left <= 0:
                    break
        return frames, place

    def sizes(self) -> dict[Stream, int]:
        """Bytes of each stream so far, dropped ones included."""
        found: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        place = Place()
        while True:
            frames, place = self.read(place, 1_048_576)
            if not frames:
                return found
            for frame in frames:
                if frame.stream is not None:
                    found[frame.stream] = max(found[frame.stream], frame.offset + len(frame.data))

    def _frames(self, place: Place) -> Iterator[tuple[Frame, Place]]:
        try:
            file = (self._folder / segment_name(place.segment)).open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(place.byte)
            while (length := frame_length(head := file.read(HEADER_BYTES))) is not None:
                data = file.read(length)
                frame = parse(head, data) if len(data) == length else None
                if frame is None:
                    return
                place = replace(place, byte=place.byte + HEADER_BYTES + length)
                yield frame, place


def segment_name(number: int) -> str:
    """The file's name; sorts as its number does."""
    return f"{number:0{_NAME_DIGITS}}"


def segment_numbers(folder: Path) -> list[int]:
    """Numbers of the segments that are there, in order."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isascii() and path.name.isdigit())
    return []


def shown_spools(folder: Path) -> list[str]:
    """Keys of the jobs that have a spool for others to read."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    return []


def hidden_spools(folder: Path, older_than_s: float) -> list[str]:
    """Keys of spools that nobody was shown within that time: their workers died early."""
    edge = time.time() - older_than_s
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.name.startswith(".") and entry.stat(follow_symlinks=False).st_mtime < edge:
                    found.append(entry.name[1:])
    return found


def show_spool(folder: Path, key: str) -> None:
    """Show a hidden spool. Never fails: the worker may just have done so, or removed it."""
    with contextlib.suppress(OSError):
        (folder / f".{key}").rename(folder / key)


def remove_spool(path: Path) -> None:
    """Remove a spool's folder, as far as it is there."""
    shutil.rmtree(path, ignore_errors=True)
