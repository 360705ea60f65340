"""Logging of every process: one line per record on stderr, without secrets, that nobody can forge.

Text form (contract 6.1)::

    2026-03-24T09:15:02 [INFO] easyalert.poller[4711]: took 3 jobs

`EASYALERT_LOG_FORMAT=json` writes one JSON object per line instead: `time` (ISO 8601 with offset), `level`, `logger`,
`pid`, `source` (the Python logger), `text`, `fields` (what was given as `extra=`), `exception` (`type`, `text`, at
DEBUG also `traceback`).

Every part of a record (message, arguments, exception text, traceback) passes through the redactor before it is escaped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Final, TextIO

from easyalert.redact import Redactor

# These write whole URLs, with tokens in them, or one line per poll.
_CHATTY: Final = ("httpx", "httpcore", "urllib3", "uvicorn.access", "hpack")
_LEVELS: Final = {name: level for name, level in logging.getLevelNamesMapping().items() if level != logging.NOTSET}
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}

# C0, DEL, C1, line and paragraph separators, marks that reorder or hide text, lone surrogates.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def configure_logging(process: str, level: str, *, secrets: Iterable[str] = ()) -> None:
    """Send this process's log to stderr as described above; called again, it replaces what it set up before.

    `process` is the room's name (`poller`), `level` a level's name in any case; an unknown one means INFO, with a
    warning. `secrets` are never shown, in any spelling that `Redactor` knows.
    """
    threshold = _LEVELS.get(level.strip().upper())
    # Read here and not in the settings: the settings' own errors are logged in this form.
    as_json = os.environ.get("EASYALERT_LOG_FORMAT", "").strip().lower() == "json"
    shown = threshold or logging.INFO
    form = _JsonLines if as_json else _TextLines
    handler = _StderrHandler(form(process, Redactor(secrets), tracebacks=shown <= logging.DEBUG))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    _set_level(root, shown)
    for name in _CHATTY:
        _set_level(logging.getLogger(name), logging.WARNING)
    logging.captureWarnings(capture=True)
    if threshold is None:
        logging.getLogger(__name__).warning(
            "LOG_LEVEL %r is unknown, INFO is used; known: %s", level, ", ".join(_LEVELS)
        )


def log_uncaught() -> None:
    """Have what nobody catches (in the program, a thread, a finalizer) logged as all else is, redacted, on one line.

    By themselves these print the whole traceback, with the exception's text as it is.
    """
    log = logging.getLogger(__name__)

    def of_program(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("the program ends unexpectedly", exc_info=(kind, error, trace))

    def of_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
            log.error("a thread ended unexpectedly", exc_info=found.exc_value)

    def of_finalizer(found: sys.UnraisableHookArgs) -> None:
        log.error("an exception nobody could catch", exc_info=found.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_program, of_thread, of_finalizer


def _set_level(logger: logging.Logger, level: int) -> None:
    # even a level that is there already would have every logger of the process forget what it knows, and be written to
    if logger.level != level:
        logger.setLevel(level)


@contextlib.contextmanager
def hidden_in_logs(redactor: Redactor) -> Iterator[None]:
    """While the block runs, records of this process pass through `redactor` too: the credentials of the job at hand."""
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, _StderrHandler)]
    for handler in handlers:
        handler.lines.redactors.append(redactor)
    try:
        yield
    finally:
        for handler in handlers:
            handler.lines.redactors.remove(redactor)


def escape_controls(text: str) -> str:
    r"""`text` on one line: control, reordering and invisible characters become `\n`, `\x1b`, `\u202e`."""
    return _UNPRINTABLE.sub(_escaped, text)


def describe_exception(error: BaseException) -> str:
    """`Type: text` on one line of thought, the members of a group included; never a traceback."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe_exception(member) for member in error.exceptions)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ of a foreign exception must not silence the record
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT_ESCAPES.get(char) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


class _Lines(logging.Formatter):
    """What both forms share: the message, redacted; the exception, short or whole."""

    def __init__(self, process: str, redactor: Redactor, *, tracebacks: bool) -> None:
        super().__init__()
        self.logger_name = f"easyalert.{process}"
        self.redactors = [redactor]
        self.tracebacks = tracebacks

    def clean(self, text: str) -> str:
        for redactor in self.redactors:
            text = redactor.text(text)
        return text

    def message(self, record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string loses its arguments, not the record
            return f"{record.msg} (the arguments of this record do not fit it)"

    def error(self, record: logging.LogRecord) -> BaseException | None:
        return record.exc_info[1] if record.exc_info else None

    def traceback(self, record: logging.LogRecord) -> str:
        if not self.tracebacks:
            return ""
        error = self.error(record)
        parts = traceback.format_exception(error) if error else []
        if record.stack_info:
            parts.append(record.stack_info)
        return self.clean("".join(parts))


class _TextLines(_Lines):
    """The text form. A traceback (DEBUG only) follows as lines of the same shape, so that none can be forged."""

    def format(self, record: logging.LogRecord) -> str:
        error = self.error(record)
        text = self.message(record) + (f": {describe_exception(error)}" if error else "")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        head = f"{stamp} [{record.levelname}] {self.logger_name}[{record.process}]: "
        lines = [self.clean(text), *(f"| {line}" for line in self.traceback(record).splitlines())]
        return "\n".join(head + escape_controls(line) for line in lines)


class _JsonLines(_Lines):
    """The JSON form; ASCII only, so no reader can split a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": self.logger_name,
            "pid": record.process,
            "source": record.name,
            "text": self.clean(self.message(record)),
        }
        if fields:
            line["fields"] = {key: self.field(value) for key, value in fields.items()}
        error = self.error(record)
        if error:
            line["exception"] = {"type": type(error).__name__, "text": self.clean(describe_exception(error))}
            if self.tracebacks:
                line["exception"]["traceback"] = self.traceback(record)
        return json.dumps(line)

    def field(self, value: object) -> object:
        return value if value is None or isinstance(value, bool | int) else self.clean(str(value))


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment. A failure to write is never answered by printing the record's arguments."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        stream: TextIO | None = sys.stderr
        if stream is None:  # a process started without one
            return
        try:
            stream.write(self.lines.format(record) + "\n")
            stream.flush()
        except Exception as error:  # noqa: BLE001 - logging must never end the work it tells about
            with contextlib.suppress(Exception):
                stream.write(f"easyalert: a log record was lost ({type(error).__name__})\n")
