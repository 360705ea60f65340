from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from deploy.quickstart import down
from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home
from deploy.quickstart.record import Record
from easyalert.runtime import ProcessIdentity, boot_id, start_ticks

NOTES = """\
import pathlib, signal, sys, time
def note(*_):
    with open(sys.argv[1], "a") as file: file.write(sys.argv[2] + "\\n")
    time.sleep(0.2)
    sys.exit(0)
signal.signal(signal.SIGTERM, note)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def program(tmp_path):
    """Programs that write their name to a file when they are told to stop."""
    started = []

    def start(name, code=NOTES):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "order"), name], stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        return ProcessIdentity(boot_id(), process.pid, start_ticks(process.pid))

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_agent_is_stopped_before_the_control_plane(home, program, tmp_path):
    """It reports what it finished to a control plane that is still there."""
    record = Record(1, program("control plane"), program("agent"))
    record.write(home.running)
    assert down.down(home) == 0
    assert (tmp_path / "order").read_text().split("\n")[:2] == ["agent", "control plane"]
    assert not record.alive
    assert not home.running.exists()


def test_one_that_shows_the_status_is_told_first(home, program, tmp_path):
    Record(1, program("control plane"), program("agent"), program("up")).write(home.running)
    assert down.down(home) == 0
    assert (tmp_path / "order").read_text().split("\n")[:3] == ["up", "agent", "control plane"]


def test_what_has_to_be_killed_is_named(home, program, monkeypatch):
    monkeypatch.setattr(down, "AGENT_STOP_SECONDS", 0.1)
    stubborn = program(
        "agent",
        f"import signal, time; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); print(flush=True); time.sleep(60)",
    )
    Record(1, program("control plane"), stubborn).write(home.running)
    with pytest.raises(QuickstartError, match="The agent did not stop in time and had to be killed"):
        down.down(home)


def test_processes_of_an_earlier_boot_are_left_alone(home, program, capsys):
    stranger = program("somebody else's")
    old = ProcessIdentity("earlier", stranger.pid, stranger.start_ticks)
    Record(1, old, old).write(home.running)
    assert down.down(home) == 0
    assert "Nothing is running" in capsys.readouterr().out
    assert stranger.alive()
