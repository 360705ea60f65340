from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from deploy.quickstart.errors import NotPossibleError, QuickstartError
from deploy.quickstart.program import Program, choose_port, clean_environment, command, run_once
from tests.support.waiting import eventually


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        yield server.getsockname()[1]


def start(tmp_path, code):
    return Program("thing", [sys.executable, "-c", code], os.environ, log=tmp_path / "log", cwd=tmp_path)


def test_a_port_that_was_asked_for_is_taken_or_refused(taken):
    with pytest.raises(NotPossibleError, match=f"Port {taken} is in use"):
        choose_port(taken, 8080)


def test_without_a_wish_the_next_free_port_is_taken(taken):
    chosen = choose_port(None, taken)
    assert taken < chosen < taken + 50


def test_no_free_port_at_the_end_of_the_range():
    with socket.socket() as last:
        try:
            last.bind(("127.0.0.1", 65535))
            last.listen(1)
        except OSError:
            pass  # somebody else has it: as good
        with pytest.raises(NotPossibleError, match="No port from 65535"):
            choose_port(None, 65535)


def test_a_program_that_ends_by_itself_is_told_with_its_last_words(tmp_path):
    (tmp_path / "log").write_text("of an earlier start\n")
    program = start(tmp_path, "import sys; print('the disk is full'); sys.exit(4)")
    eventually(lambda: not program.running)
    with pytest.raises(QuickstartError, match=r"thing ended by itself \(exit code 4\)") as caught:
        program.check()
    assert "the disk is full" in str(caught.value)
    assert "earlier start" not in str(caught.value)


def test_a_program_is_stopped_and_not_a_zombie(tmp_path):
    program = start(tmp_path, "import time; time.sleep(60)")
    program.check()
    assert program.stop(5) is True
    assert not Path(f"/proc/{program.identity.pid}").exists()


def test_ctrl_c_at_the_terminal_does_not_reach_it(tmp_path):
    program = start(tmp_path, "import time; time.sleep(60)")
    assert os.getsid(program.identity.pid) != os.getsid(0)
    program.stop(5)


def test_a_short_command_that_fails_is_told_in_its_own_words():
    code = "import sys; sys.stderr.write('name taken'); sys.exit(3)"
    with pytest.raises(QuickstartError, match=r"Making it failed \(exit code 3\): name taken"):
        run_once([sys.executable, "-c", code], os.environ, "Making it")
    assert run_once([sys.executable, "-c", "print(7)"], os.environ, "It") == "7\n"


def test_commands_are_those_of_this_environment():
    assert command("easyalert-agent", "run") == [str(Path(sys.executable).parent / "easyalert-agent"), "run"]


def test_settings_of_another_agent_do_not_leak_in():
    seen = clean_environment(
        {
            "PATH": "/bin",
            "AGENT_API_KEY": "x",
            "ADMIN_TOKEN": "x",
            "EASYALERT_CP_PORT": "1",
            "STATE_DIR": "/x",
            "REDIS_URL": "x",
        }
    )
    assert seen == {"PATH": "/bin", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def test_loopback_goes_past_the_proxy_and_the_rest_of_the_exceptions_stay():
    seen = clean_environment({"HTTPS_PROXY": "http://p", "NO_PROXY": "corp.example"})
    assert seen["HTTPS_PROXY"] == "http://p"
    assert seen["NO_PROXY"] == "127.0.0.1,localhost,corp.example"
