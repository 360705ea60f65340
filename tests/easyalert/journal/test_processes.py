"""The journal under real processes: races for the fence, kills in the middle of writes, forks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from easyalert.journal import Journal, State
from easyalert.journal.schema import set_aside_if_damaged
from easyalert.runtime import this_process
from tests.easyalert.journal.conftest import envelope, new_job

pytestmark = pytest.mark.system


def in_process(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


RACER = """
import sys; from pathlib import Path
from easyalert.journal import Journal; from easyalert.runtime import this_process
with Journal(Path(sys.argv[1])) as journal:
    print("ready", flush=True); sys.stdin.readline()
    for number in range(int(sys.argv[2])):
        if journal.start(f"job_{number}", this_process()) is not None:
            print(number, flush=True)
"""


def test_of_racing_processes_exactly_one_passes_each_fence(tmp_path):
    path, jobs = tmp_path / "journal.sqlite3", 60
    with Journal(path) as journal:
        journal.take([new_job(f"job_{n}") for n in range(jobs)])
        racers = [in_process(RACER, path, jobs) for _ in range(3)]
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:  # all are waiting: now they run at the same rows in the same order
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = {racer.pid: [int(line) for line in racer.communicate()[0].split()] for racer in racers}
        assert sorted(n for numbers in won.values() for n in numbers) == list(range(jobs))
        for row in journal.running():
            assert int(row.key.removeprefix("job_")) in won[row.owner.pid]


OPENER = """
import sys; from pathlib import Path
from easyalert.journal import Journal
print("ready", flush=True); sys.stdin.readline()
with Journal(Path(sys.argv[1])) as journal:
    journal.leave_note(sys.argv[2], 1)
"""


def test_processes_may_all_be_the_first_to_open_the_journal(tmp_path):
    for turn in range(5):
        path = tmp_path / f"journal-{turn}.sqlite3"
        openers = [in_process(OPENER, path, f"note-{n}") for n in range(4)]
        for opener in openers:
            opener.stdout.readline()
        for opener in openers:
            opener.stdin.write("go\n")
            opener.stdin.flush()
        for opener in openers:
            opener.communicate()
        assert [opener.returncode for opener in openers] == [0] * 4
        with Journal(path) as journal:
            assert [journal.note(f"note-{n}") for n in range(4)] == [1] * 4


WRITER = """
import sys; from pathlib import Path
from easyalert.journal import Journal; from easyalert.runtime import this_process
sys.path.insert(0, sys.argv[3])
from tests.easyalert.journal.conftest import envelope, new_job
number = int(sys.argv[2])
with Journal(Path(sys.argv[1])) as journal:
    while True:
        key = f"job_{number}"
        journal.take([new_job(key)]); print("taken", key, flush=True)
        journal.start(key, this_process()); print("started", key, flush=True)
        journal.finish(key, {**envelope(key), "output": key * 200}); print("done", key, flush=True)
        number += 1
"""

RANK = {"taken": 0, "started": 1, "done": 2}
REACHED = {State.QUEUED: 0, State.STARTED: 1, State.DONE: 2}


def test_sigkill_in_the_middle_of_writes_loses_no_acknowledged_write(tmp_path):
    path = tmp_path / "journal.sqlite3"
    root = Path(__file__).parents[3]
    promised: dict[str, int] = {}
    for turn in range(8):
        writer = in_process(WRITER, path, turn * 1000, root)
        lines = [writer.stdout.readline() for _ in range(5 + 4 * turn)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.communicate()[0].splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                word, key = line.split()
                promised[key] = max(RANK[word], promised.get(key, 0))
        assert set_aside_if_damaged(path) is None
    assert len(promised) > 8
    with Journal(path) as journal:
        rows = {row.key: row for row in journal.latest(10_000)}
        for key, rank in promised.items():
            assert REACHED[rows[key].state] >= rank
            if rows[key].state is State.DONE:
                assert rows[key].result["output"] == key * 200
        done = sum(row.state is State.DONE for row in rows.values())
        assert journal.figures().executed == done, "the counter moves with the row or not at all"
        owners_gone = journal.running()
        assert all(not row.owner.alive() for row in owners_gone)


def test_a_journal_carried_over_a_fork_is_refused(tmp_path):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        journal.take([new_job()])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                journal.start("job_1", this_process())
                os.write(writing, b"used")
            except RuntimeError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as answer:
            assert b"carried over a fork" in answer.read()
        assert journal.get("job_1").state is State.QUEUED
        journal.start("job_1", this_process())
        assert journal.finish("job_1", envelope())
