from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rq import Worker

from easyalert.audit.verify import entries
from easyalert.errors import JournalError
from easyalert.journal import State
from easyalert.queues import agent_queue, queued_keys
from easyalert.runtime import ProcessIdentity, boot_id, this_process
from tests.support.waiting import eventually
from tests.workers.chain import Chain
from tests.workers.oddities import foreign
from workers import trees
from workers.bookkeeper import CAPABILITIES_NOTE, REPEATABLE_NOTE, Bookkeeper
from workers.registry import Registry
from workers.toolbox import pack
from workers.worker import AgentWorker, worker_name

pytestmark = pytest.mark.system

DEAD = ProcessIdentity("boot", 1, 1)


@pytest.fixture
def chain(make_home):
    home = make_home("https://control.example")
    home.start_redis()
    return Chain(home)


@pytest.fixture
def tools(chain):
    return replace(pack(chain.home.settings), registry=Registry(foreign=foreign()))


@pytest.fixture
def journal(chain):
    with chain.home.journal() as journal:
        yield journal


@pytest.fixture
def bookkeeper(tools, journal):
    return Bookkeeper(tools, journal, os.getpid())


def started(chain, journal, action="odd.raise", params=None, owner=DEAD, **fields):
    key = chain.take(action, params or {}, **fields)
    assert journal.start(key, owner)
    return key


def sleeping(mark: str) -> subprocess.Popen[bytes]:
    """A marked process, once the mark can be seen: for a moment of its exec it has no environment at all."""
    process = subprocess.Popen(["sleep", "60"], env={"EASYALERT_JOB": mark})
    environment = Path(f"/proc/{process.pid}/environ")
    eventually(lambda: mark.encode() in environment.read_bytes(), what="the mark")
    return process


def test_the_first_thing_it_does_is_to_say_what_the_agent_can(bookkeeper, journal):
    bookkeeper.open_books()
    assert {"odd", "script"} <= set(journal.note(CAPABILITIES_NOTE))
    assert {"connection.test", "system.storeCredential"} <= set(journal.note(REPEATABLE_NOTE))
    assert not any(action.startswith("script.") for action in journal.note(REPEATABLE_NOTE))


def test_which_policy_was_in_force_is_in_the_record_once_per_change(bookkeeper, chain, journal):
    def recorded():
        found = list(entries(chain.home.settings.audit_dir))
        return [(e["state"], e["rules"], e["digest"]) for e in found if e["kind"] == "policy.read"]

    file = chain.home.settings.policy_file
    bookkeeper.open_books()
    bookkeeper.tick()
    assert recorded() == []
    text = '[[allow]]\nname = "a"\nactions = ["*"]\n'
    for content in (text, text, "no = 1", text):
        file.write_text(content)
        file.chmod(0o600)
        bookkeeper.tick()
        bookkeeper.tick()
    file.unlink()
    bookkeeper.tick()
    good = ("ok", 1, hashlib.sha256(text.encode()).hexdigest())
    broken = "broken: every job is refused"
    assert recorded() == [good, (broken, 0, hashlib.sha256(b"no = 1").hexdigest()), good, (broken, 0, None)]


def test_what_an_earlier_pool_has_left_is_settled_and_swept(bookkeeper, chain, journal, tools):
    key = started(chain, journal)
    left = sleeping(trees.job_mark("another", tools.agent))
    foreign_job = sleeping(trees.job_mark("another", "other-agent"))
    folder = chain.home.settings.tmp_dir / "easyalert_x"
    folder.mkdir()
    (folder / "script.sh").write_text("secret")
    (chain.home.settings.tmp_dir / "somebody-elses").write_text("x")
    bookkeeper.open_books()
    assert journal.get(key).state is State.IN_DOUBT
    assert left.wait() == -9
    assert foreign_job.poll() is None
    foreign_job.kill()
    foreign_job.wait()
    assert [entry.name for entry in chain.home.settings.tmp_dir.iterdir()] == ["somebody-elses"]


def test_the_files_of_a_dead_workers_job_are_removed_and_those_of_a_living_one_stay(bookkeeper, chain):
    living = subprocess.Popen(["sleep", "60"])
    place = chain.home.settings.tmp_dir
    for folder in {f"easyalert_{living.pid}_abc", "easyalert_1_abc", f"easyalert_{os.getppid()}_abc"}:
        (place / folder).mkdir()
        (place / folder / "script.sh").write_text("secret")
    bookkeeper.tick()
    assert [entry.name for entry in place.iterdir()] == [f"easyalert_{living.pid}_abc"]
    living.kill()
    living.wait()
    bookkeeper.tick()
    assert list(place.iterdir()) == []


def test_the_tree_is_hunted_down_before_the_row_is_settled(bookkeeper, chain, journal, tools, monkeypatch):
    key = started(chain, journal)
    process = sleeping(trees.job_mark(key, tools.agent))
    settle = journal.owner_died
    monkeypatch.setattr(journal, "owner_died", lambda row, **kw: (process.wait(timeout=10), settle(row, **kw))[1])
    bookkeeper.tick()
    assert process.returncode == -9
    assert journal.get(key).state is State.IN_DOUBT


def test_the_row_of_a_living_worker_of_this_pool_is_left_alone(bookkeeper, chain, journal):
    child = subprocess.Popen(["sleep", "60"])
    (member,) = trees.family(child.pid)
    key = started(chain, journal, owner=ProcessIdentity(boot_id(), member.pid, member.ticks))
    bookkeeper.tick()
    assert journal.get(key).state is State.STARTED
    child.kill()
    child.wait()
    bookkeeper.tick()
    assert journal.get(key).state is State.IN_DOUBT


def test_a_worker_that_has_outlived_its_pool_is_killed(tools, chain, journal):
    worker = subprocess.Popen(["sleep", "60"])
    (member,) = trees.family(worker.pid)
    key = started(chain, journal, owner=ProcessIdentity(boot_id(), member.pid, member.ticks))
    Bookkeeper(tools, journal, pool_pid=1).tick()
    assert worker.wait() == -9
    assert journal.get(key).state is State.IN_DOUBT


def test_what_may_be_repeated_is_queued_again_at_once(bookkeeper, chain, journal):
    key = started(chain, journal, "odd.count", {"n": 0})
    other = started(chain, journal, "odd.count", {"n": 1})
    bookkeeper.tick()
    assert journal.get(key).state is State.QUEUED
    assert journal.get(other).state is State.IN_DOUBT
    with chain.home.redis.client() as client:
        assert queued_keys(agent_queue(client)) == {key}


def test_the_third_death_is_the_last(bookkeeper, chain, journal):
    key = chain.take("odd.nan", {})
    for _ in range(3):
        assert journal.start(key, DEAD)
        bookkeeper.tick()
    row = journal.get(key)
    assert row.state is State.DONE
    assert row.result["error"].startswith("poison:")


def test_a_death_is_settled_when_it_is_told(bookkeeper, chain, journal):
    key = started(chain, journal)
    bookkeeper.obey({"word": "died", "name": "a.1.1", "key": key})
    assert journal.get(key).state is State.IN_DOUBT
    bookkeeper.obey({"word": "died", "name": "a.1.1", "key": None})
    bookkeeper.obey({"word": "died", "name": "a.1.1", "key": "missing"})


def test_a_job_that_another_worker_has_meanwhile_is_not_settled(bookkeeper, chain, journal):
    key = started(chain, journal, owner=this_process())
    bookkeeper.obey({"word": "died", "name": "a.1.1", "key": key})
    assert journal.get(key).state is State.STARTED


def test_while_the_journal_cannot_be_written_nothing_is_forgotten(bookkeeper, chain, journal, monkeypatch, caplog):
    key, finish, disk_is_full = started(chain, journal, owner=this_process()), journal.finish, [True]

    def moody(*args, **kwargs):
        if disk_is_full:
            raise JournalError("disk full")
        return finish(*args, **kwargs)

    monkeypatch.setattr(journal, "finish", moody)
    bookkeeper.hear({"word": "overshot", "name": "a.1.1", "key": key, "seconds": 7})
    bookkeeper.hear({"word": "died", "name": "a.1.2", "key": None})
    assert journal.get(key).state is State.STARTED
    assert caplog.text.count("waits to be settled") == 1
    disk_is_full.clear()
    bookkeeper.tick()
    assert journal.get(key).outcome == "timed_out"


def test_an_overrun_is_a_time_out(bookkeeper, chain, journal):
    key = started(chain, journal)
    bookkeeper.obey({"word": "overshot", "name": "a.1.1", "key": key, "seconds": 7})
    row = journal.get(key)
    assert row.outcome == "timed_out"
    assert row.fault == "agent"
    assert "7 seconds" in row.result["error"]
    assert row.result["durationMs"] == 7000


def test_registrations_of_the_dead_go_and_busy_ones_are_renewed(bookkeeper, chain, tools):
    with chain.home.redis.client() as client:
        queue = agent_queue(client)
        for pid in (1, 999_999_999):
            AgentWorker(queue, worker_name("agent", 1, pid)).publish()
        bookkeeper.open_books()
        assert Worker.count(queue=queue) == 0
        busy = {"name": worker_name("agent", 2, os.getpid()), "pid": os.getpid(), "born": 1_700_000_000.0, "left_s": 30}
        bookkeeper.obey({"word": "alive", "workers": [busy]})
        (seen,) = Worker.all(queue=queue)
        assert (seen.pid, seen.get_state()) == (os.getpid(), "busy")
        assert seen.birth_date.year == 2023
        assert client.ttl(seen.key) > 90


def test_what_redis_misses_while_it_is_away_it_is_told_later(bookkeeper, chain):
    redis = chain.home.redis
    bookkeeper.open_books()
    redis.kill()
    bookkeeper.obey({"word": "died", "name": worker_name("agent", 1, 77), "key": None})
    redis.start()
    with redis.client() as client:
        queue = agent_queue(client)
        AgentWorker(queue, worker_name("agent", 1, 77)).publish()
        bookkeeper.tick()
        assert Worker.count(queue=queue) == 0
