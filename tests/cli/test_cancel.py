from __future__ import annotations

import getpass
import socket

import pytest

from cli.__main__ import main
from cli.cancel import here
from easyalert.journal import Journal, State
from easyalert.runtime import this_process
from tests.cli.test_jobs import finish, new


@pytest.fixture
def journal(short_dir, monkeypatch):
    monkeypatch.chdir(short_dir)
    monkeypatch.setenv("STATE_DIR", str(short_dir))
    with Journal(short_dir / "journal.sqlite3") as journal:
        yield journal


def test_a_waiting_job_is_over_at_once_and_says_who_it_was(journal, capsys):
    journal.take([new("job_1")])
    assert main(["jobs", "cancel", "job_1"]) == 0
    assert "had not started" in capsys.readouterr().out
    row = journal.get("job_1")
    assert row.state is State.CANCELLED
    assert row.cancel_by == f"{here()}, on the agent's machine"


def test_a_running_job_is_marked_and_the_agent_is_woken(journal, short_dir, capsys):
    journal.take([new("job_1")])
    assert journal.start("job_1", this_process())
    (short_dir / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as workers:
        workers.bind(str(short_dir / "run" / "workers.sock"))
        workers.settimeout(5)
        assert main(["jobs", "cancel", "job_1"]) == 0
        assert workers.recv(16)
    assert [row.key for row in journal.cancel_requests()] == ["job_1"]
    assert main(["jobs", "cancel", "job_1"]) == 0
    assert "already" in capsys.readouterr().out


def test_what_is_over_or_unknown_cannot_be_cancelled(journal, capsys):
    journal.take([new("job_1")])
    finish(journal, "job_1")
    assert main(["jobs", "cancel", "job_1"]) == 1
    assert "job_1 is over" in capsys.readouterr().err
    assert main(["jobs", "cancel", "job_9"]) == 1
    assert "no job job_9" in capsys.readouterr().err


def test_a_word_that_is_no_command_is_said_so(journal, capsys):
    assert main(["jobs", "abort", "job_1"]) == 1
    assert "jobs cancel ID" in capsys.readouterr().err


def test_an_account_without_a_name_is_somebody(monkeypatch):
    def nobody():
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert here() == "somebody"
