from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cli import lock
from easyalert.errors import ConfigurationError, StateDirectoryInUse


def test_the_second_agent_is_refused_by_the_first_ones_pid(tmp_path):
    path = tmp_path / "agent.lock"
    held = lock.hold(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateDirectoryInUse, match=rf"pid {os.getpid()}.*STATE_DIR"):
        lock.hold(path)
    assert lock.holder_of(path) == os.getpid()
    os.close(held)
    assert lock.holder_of(path) is None
    os.close(lock.hold(path))


def test_two_who_ask_at_once_do_not_see_each_other(tmp_path):
    path = tmp_path / "agent.lock"
    os.close(lock.hold(path))
    reader = os.open(path, os.O_RDONLY)
    import fcntl

    fcntl.flock(reader, fcntl.LOCK_SH)
    assert lock.holder_of(path) is None
    os.close(reader)


def test_no_file_no_agent(tmp_path):
    assert lock.holder_of(tmp_path / "agent.lock") is None


def test_a_link_in_its_place_is_refused(tmp_path):
    (tmp_path / "agent.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        lock.hold(tmp_path / "agent.lock")
    assert not (tmp_path / "elsewhere").exists()


def test_it_lasts_over_an_exec_and_ends_with_the_process(tmp_path):
    path = tmp_path / "agent.lock"
    script = (
        "import os, sys; from pathlib import Path; from cli import lock\n"
        f"held = lock.hold(Path({str(path)!r})); os.set_inheritable(held, True)\n"
        "os.execv('/bin/sh', ['sh', '-c', 'echo ready; read line'])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    assert lock.holder_of(path) == child.pid
    child.communicate(b"\n")
    assert lock.holder_of(path) is None
