from __future__ import annotations

import asyncio
import logging

from easyalert.journal import Journal
from easyalert.runtime import Stop
from poller import condition as module
from poller.condition import Condition, keep_note


def test_well_from_the_start():
    note = Condition().note()
    assert note == {
        "state": "ok",
        "paused": None,
        "keyInUse": None,
        "lastPollAt": None,
        "lastError": None,
        "lastErrorAt": None,
    }


def test_a_problem_is_logged_once_and_remembered_after_its_end(caplog):
    caplog.set_level(logging.INFO)
    condition = Condition(clock=lambda: 50.0)
    for _ in range(100):
        condition.problem("polling", "the control plane does not answer")
    assert condition.note()["state"] == "the control plane does not answer"
    condition.solved("polling")
    condition.solved("polling")
    assert [record.getMessage() for record in caplog.records] == [
        "polling: the control plane does not answer",
        "polling: works again",
    ]
    assert condition.note() == {
        "state": "ok",
        "paused": None,
        "keyInUse": None,
        "lastPollAt": None,
        "lastError": "the control plane does not answer",
        "lastErrorAt": 50.0,
    }


def test_one_part_well_does_not_hide_another_that_is_not():
    condition = Condition()
    condition.problem("polling", "a")
    condition.problem("queue", "b")
    condition.solved("polling")
    assert condition.note()["state"] == "b"


def test_a_pause_has_a_reason(caplog):
    caplog.set_level(logging.INFO)
    condition = Condition()
    condition.paused("the disk is full")
    condition.paused("the disk is full")
    assert condition.note()["paused"] == "the disk is full"
    condition.paused(None)
    assert condition.note()["paused"] is None
    assert len(caplog.records) == 2


def test_the_note_is_written_on_change_and_rarely_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_AT_MOST_EVERY_S", 0.02)
    written = []
    original = Journal.leave_note
    monkeypatch.setattr(
        Journal, "leave_note", lambda self, name, value: (written.append(dict(value)), original(self, name, value))
    )

    async def reached(notes):
        async with asyncio.timeout(10):
            while len(written) < notes:  # noqa: ASYNC110 - the journal tells nobody
                await asyncio.sleep(0.005)

    async def scenario():
        condition, stop = Condition(), Stop()
        with Journal(tmp_path / "journal") as journal:
            writing = asyncio.create_task(keep_note(condition, journal, stop))
            await reached(1)
            for _ in range(1_000):
                condition.polled()
            await reached(2)
            condition.problem("polling", "gone")
            await reached(3)
            await asyncio.sleep(0.1)  # for more than these, which must not come
            stop.set()
            await writing
            assert journal.note("poller") == condition.note()

    asyncio.run(scenario())
    assert [note["state"] for note in written] == ["ok", "ok", "gone"]
    assert written[1]["lastPollAt"] is not None
