"""The log: contract 6.1's shape, nothing forged, nothing leaked (defect C9)."""

import json
import logging
import os
import re
import subprocess
import sys
import warnings

import pytest

from easyalert.logs import configure_logging, describe_exception, escape_controls, hidden_in_logs
from easyalert.redact import Redactor

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d \[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\] easyalert\.poller\[(\d+)\]: (.*)"
)
log = logging.getLogger("easyalert.test")


@pytest.fixture(autouse=True)
def restored_logging(monkeypatch):
    monkeypatch.delenv("EASYALERT_LOG_FORMAT", raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def lines(capsys):
    def read():
        return capsys.readouterr().err.splitlines()

    return read


def fail(text):
    raise ValueError(text)


def test_one_line_per_record_in_the_shape_of_the_contract(lines):
    configure_logging("poller", "INFO")
    log.info("took %d jobs", 3)
    (line,) = lines()
    level, pid, text = LINE.fullmatch(line).groups()
    assert (level, int(pid), text) == ("INFO", os.getpid(), "took 3 jobs")


@pytest.mark.parametrize("level", ["warning", " WARNING ", "Warn"])
def test_level_names_in_any_case(lines, level):
    configure_logging("poller", level)
    log.info("hidden")
    log.warning("shown")
    assert [LINE.fullmatch(line)[3] for line in lines()] == ["shown"]


@pytest.mark.parametrize("level", ["LOUD", "", "NOTSET", "20"])
def test_an_unknown_level_means_info_and_says_so(lines, level):
    configure_logging("poller", level)
    log.debug("hidden")
    log.info("shown")
    warning, shown = lines()
    assert "[WARNING]" in warning
    assert "LOG_LEVEL" in warning
    assert shown.endswith("shown")


def test_configuring_twice_writes_each_record_once(lines):
    configure_logging("workers", "DEBUG")
    configure_logging("poller", "INFO")
    log.info("once")
    log.debug("not at all")
    assert len(lines()) == 1


@pytest.mark.parametrize("name", ["httpx", "httpcore.connection", "urllib3.connectionpool", "uvicorn.access"])
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_request_lines_with_their_tokens_are_not_logged(lines, monkeypatch, name, level):
    # a uvicorn that an earlier test started in this process has switched its own off
    monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    configure_logging("poller", level)
    logging.getLogger(name).info("GET https://host/?token=abc")
    logging.getLogger(name).warning("retrying")
    assert [LINE.fullmatch(line)[3] for line in lines()] == ["retrying"]


@pytest.mark.parametrize(
    "text",
    [
        "a\n2026-01-01T00:00:00 [INFO] easyalert.poller[1]: forged",
        "a\rb",
        "a\x1b[2Jb",
        "a\x85b",
        "a\u2028b",
        "a\u202eb",
        "a\x00b",
    ],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_line_cannot_be_forged(lines, monkeypatch, text, log_format):
    monkeypatch.setenv("EASYALERT_LOG_FORMAT", log_format)
    configure_logging("poller", "INFO")
    log.info("%s", text)
    (line,) = lines()
    assert line.isascii()
    assert line.isprintable()


def test_lone_surrogates_do_not_stop_the_log(lines):
    configure_logging("poller", "INFO")
    log.info("name %s", "\ud800")
    assert lines()[0].endswith(r"name \ud800")


def test_an_exception_is_one_line_without_traceback(lines):
    configure_logging("poller", "INFO")
    try:
        fail("no route\nto host")
    except ValueError:
        log.exception("job failed")
    (line,) = lines()
    assert line.endswith(r"job failed: ValueError: no route\nto host")


def test_at_debug_the_traceback_follows_in_lines_of_the_same_shape(lines):
    configure_logging("poller", "DEBUG")
    try:
        fail("no route")
    except ValueError:
        log.exception("job failed")
    found = lines()
    assert len(found) > 2
    assert all(LINE.fullmatch(line) for line in found)
    assert any("in fail" in line for line in found)


def test_a_group_shows_its_members():
    group = ExceptionGroup("unhandled", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])
    assert describe_exception(group) == "ValueError: one; KeyError: 'two'"


def test_an_exception_whose_text_fails_is_still_described():
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError

    assert describe_exception(BrokenError()).startswith("BrokenError: ")
    assert describe_exception(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_secrets_are_hidden_in_message_arguments_exception_and_traceback(lines, monkeypatch, log_format, level):
    monkeypatch.setenv("EASYALERT_LOG_FORMAT", log_format)
    configure_logging("poller", level, secrets=["hunter2-hunter2"])
    try:
        fail("401 for hunter2-hunter2")
    except ValueError:
        log.exception(
            "key %s, data %s", "hunter2-hunter2", {"key": "hunter2-hunter2"}, extra={"key": "hunter2-hunter2"}
        )
    text = "\n".join(lines())
    assert "hunter2" not in text
    assert text.count("[REDACTED]") >= 3


def test_credentials_of_a_job_are_hidden_while_it_runs(lines):
    configure_logging("workers", "INFO", secrets=["agent-key"])
    with hidden_in_logs(Redactor(["job-password"])):
        log.info("agent-key job-password")
    log.info("job-password")
    first, second = lines()
    assert first.endswith(": [REDACTED] [REDACTED]")
    assert second.endswith(": job-password")


def test_arguments_that_do_not_fit_lose_nothing_but_themselves(lines):
    root = logging.getLogger()
    root.handlers.clear()  # pytest's own handler raises on such a record
    configure_logging("poller", "INFO", secrets=["hunter2-hunter2"])
    log.info("%d jobs", "hunter2-hunter2")
    (line,) = lines()
    assert "%d jobs" in line
    assert "hunter2" not in line


def test_a_closed_stderr_does_not_end_the_work(monkeypatch):
    configure_logging("poller", "INFO")
    monkeypatch.setattr("sys.stderr", None)
    log.info("nobody hears")


def test_json_lines(lines, monkeypatch):
    monkeypatch.setenv("EASYALERT_LOG_FORMAT", "json")
    configure_logging("poller", "INFO")
    try:
        fail("no route")
    except ValueError:
        log.warning("job %s failed", "j1", exc_info=True, extra={"jobId": "j1", "attempt": 2})
    line = json.loads(lines()[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", line.pop("time"))
    assert line == {
        "level": "WARNING",
        "logger": "easyalert.poller",
        "pid": os.getpid(),
        "source": "easyalert.test",
        "text": "job j1 failed",
        "fields": {"jobId": "j1", "attempt": 2},
        "exception": {"type": "ValueError", "text": "ValueError: no route"},
    }


def test_warnings_of_libraries_take_the_same_way(lines):
    configure_logging("poller", "INFO")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert all(LINE.fullmatch(line) for line in lines())


def test_escape_controls_keeps_ordinary_text():
    assert escape_controls("Grüße, 世界 🙂") == "Grüße, 世界 🙂"
    assert escape_controls("a\tb") == r"a\tb"


def test_what_nobody_catches_is_a_line_without_secrets():
    code = (
        "import threading\n"
        "from easyalert.logs import configure_logging, log_uncaught\n"
        "configure_logging('workers', 'INFO', secrets=['hunter2hunter2']); log_uncaught()\n"
        "def fail(): raise ValueError('in a thread hunter2hunter2')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "class Odd:\n"
        "    def __del__(self): raise ValueError('in a finalizer hunter2hunter2')\n"
        "Odd()\n"
        "raise ValueError('in the program hunter2hunter2')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert [line.rpartition(": ")[2] for line in lines] == [
        "in a thread [REDACTED]", "in a finalizer [REDACTED]", "in the program [REDACTED]",
    ], done.stderr  # fmt: skip
