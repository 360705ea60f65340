"""`easyalert-agent jobs tail ID`: what a job on this agent prints, as it comes; then what the journal has of it."""

from __future__ import annotations

import codecs
import re
import sys
import time
from typing import Final, TextIO

from cli.terminal import plain
from easyalert.journal import JobRow, Journal, State
from easyalert.settings import AgentSettings
from easyalert.spool import STREAMS, Place, SpoolReader, Stream

_LOOK_S: Final = 0.1
_READ_BYTES: Final = 262_144
_WAITING: Final = (State.TAKEN, State.QUEUED, State.STARTED)
_UNSAFE: Final = re.compile(r"[^\n\t]+")
"""What is shown as escapes on a terminal where it is not printable: a job must not steer it."""


def follow(settings: AgentSettings, journal: Journal, row: JobRow) -> int:
    """Print until the job has ended: stdout and stderr to their like here. Raises JournalError."""
    tail = _Tail(settings, row)
    while True:
        found = journal.get(row.key)
        # the state is read first: what is printed before the end is in the spool by then, or in the result
        ended = found is None or found.state not in _WAITING or _orphaned(found)
        while tail.print_new():
            pass
        if ended:
            tail.print_result(found)
            return 0
        time.sleep(_LOOK_S)


def _orphaned(row: JobRow) -> bool:
    """Started by a process that is gone: nobody will print any more, and no running agent says so yet."""
    return row.state is State.STARTED and row.owner is not None and not row.owner.alive()


class _Tail:
    def __init__(self, settings: AgentSettings, row: JobRow) -> None:
        # a job that has just begun to print has not shown its spool yet
        self._readers = [SpoolReader(settings.output_dir / name) for name in (row.key, f".{row.key}")]
        self._place = Place()
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in STREAMS}
        self._offsets: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self._shown: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        """Characters printed."""
        self._gaps = False

    def print_new(self) -> bool:
        """Print what has come; False: nothing."""
        for reader in self._readers:
            frames, self._place = reader.read(self._place, _READ_BYTES)
            for frame in frames:
                if frame.stream is not None:
                    self._print_bytes(frame.stream, frame.offset, frame.data)
            if frames:
                return True
        return False

    def print_result(self, row: JobRow | None) -> None:
        """The job has ended: what the spool did not have (any more), from its result."""
        for stream, decoder in self._decoders.items():
            self._print(stream, decoder.decode(b"", final=True))
        result = {} if row is None or row.result is None else row.result
        found = result.get("output")
        output = found if isinstance(found, dict) else {}
        for stream in STREAMS:
            text = output.get(stream)
            if isinstance(text, str) and not self._gaps and (not output.get("truncated") or not self._shown[stream]):
                self._print(stream, text[self._shown[stream] :])
        if row is not None:
            words = [str(row.outcome or row.state), str(result.get("status") or ""), plain(result.get("error") or "")]
            note = ": ".join(word for word in words if word)[:300]
            print(f"[job {plain(row.job_id)}: {note}]", file=sys.stderr)

    def _print_bytes(self, stream: Stream, offset: int, data: bytes) -> None:
        if offset > self._offsets[stream]:
            self._gaps = True
            missing = offset - self._offsets[stream]
            self._decoders[stream].reset()
            self._print(stream, f"\n[... {missing} bytes left out ...]\n")
        self._offsets[stream] = offset + len(data)
        self._print(stream, self._decoders[stream].decode(data))

    def _print(self, stream: Stream, text: str) -> None:
        target: TextIO = sys.stdout if stream == "stdout" else sys.stderr
        self._shown[stream] += len(text)
        if target.isatty():
            text = _UNSAFE.sub(lambda line: plain(line[0]), text)
        target.write(text)
        target.flush()
