from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys

import pytest

from deploy.quickstart.record import Record, send_signal, stop
from easyalert.runtime import ProcessIdentity, boot_id, start_ticks, this_process


@pytest.fixture
def child():
    process = subprocess.Popen(["sleep", "60"])
    yield ProcessIdentity(boot_id(), process.pid, start_ticks(process.pid))
    process.kill()
    process.wait()


def test_what_is_written_is_read_back(tmp_path, child):
    record = Record(8080, child, this_process(), None)
    record.write(tmp_path / "running.json")
    assert Record.read(tmp_path / "running.json") == record
    assert (tmp_path / "running.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"port": 1, "controlplane": {"pid": 1}, "agent": null, "up": null}']
)
def test_what_is_no_record_is_none(tmp_path, text):
    (tmp_path / "running.json").write_text(text)
    assert Record.read(tmp_path / "running.json") is None
    assert Record.read(tmp_path / "missing.json") is None


def test_whole_and_alive(child):
    gone = dataclasses.replace(child, start_ticks=child.start_ticks + 1)
    assert Record(1, child, child).whole
    assert not Record(1, child, None).whole
    assert not Record(1, gone, child).whole
    assert Record(1, gone, child).alive
    assert not Record(1, gone, gone).alive


def test_another_process_with_the_same_number_is_never_signalled(child):
    """A pid is reused: the start time tells that it is another process."""
    stranger = dataclasses.replace(child, start_ticks=child.start_ticks + 1)
    assert send_signal(stranger, signal.SIGKILL) is False
    assert stop(stranger, 1) is True
    assert child.alive()


def test_another_boot_is_another_process(child):
    assert send_signal(dataclasses.replace(child, boot_id="0"), signal.SIGKILL) is False
    assert child.alive()


def test_stop_ends_it_by_sigterm(child):
    assert stop(child, 5) is True
    assert not child.alive()


def test_what_ignores_sigterm_is_killed_after_its_time():
    code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        identity = ProcessIdentity(boot_id(), process.pid, start_ticks(process.pid))
        assert stop(identity, 0.1) is False
        assert process.wait(20) == -signal.SIGKILL
