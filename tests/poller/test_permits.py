from __future__ import annotations

import asyncio

import pytest

from easyalert.journal import State
from poller.bell import Bell
from poller.permits import Permits
from tests.poller.conftest import new_job
from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests

pytestmark = pytest.mark.system


class Taking:
    """The permits' loop, and rows for it."""

    def __init__(self, rig):
        self.rig = rig
        self.bell = Bell()
        self.freed = self.bell.listener()
        self.taken = asyncio.Event()
        self.task = rig.start(Permits(rig.parts, bell=self.bell, taken=self.taken).run)

    def take(self, *job_ids, attempt=1):
        self.rig.journal.take([new_job(job_id, attempt=attempt, needs_ack=True, lease_s=60) for job_id in job_ids])
        self.taken.set()

    async def become(self, state, *keys):
        journal = self.rig.journal
        await self.rig.until(lambda: all((row := journal.get(key)) and row.state is state for key in keys))

    async def enqueued(self, *keys):
        for _ in range(500):
            if await self.rig.parts.dispatch.keys() == set(keys):
                return
            await self.rig.parts.stop.wait(0.01)
        raise AssertionError(f"{keys} were not enqueued")


def test_a_batch_is_permitted_in_one_request_and_then_enqueued(drive, extended_server):
    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a", "b", "c")
        await taking.become(State.QUEUED, "a", "b", "c")
        assert len(extended_server.of("ack")) == 1
        assert sorted(extended_server.acknowledged) == ["a", "b", "c"]
        await taking.enqueued("a", "b", "c")
        assert rig.journal.get("a").acknowledged_ms is not None

    drive(extended_server, scenario, redis=True)


def test_refused_hand_outs_are_dropped_and_free_their_slots(drive, extended_server):
    extended_server.refusals = {"b": "reassigned"}

    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a", "b")
        await taking.become(State.QUEUED, "a")
        assert rig.journal.get("b") is None
        assert taking.freed.is_set()
        await taking.enqueued("a")

    drive(extended_server, scenario, redis=True)


@pytest.mark.parametrize(
    "fault",
    [
        Status(503),
        Cut("before"),
        Cut("body", after_work=True),
        Answer(b"{}"),
        Answer(b'{"data":{"accepted":"yes"}}'),
        Status(404),
        too_many_requests("0"),
    ],
)
def test_unanswered_nothing_starts_and_it_is_asked_again(drive, extended_server, pauses, fault):
    extended_server.fail("ack", *[fault] * 3)

    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a")
        await taking.become(State.QUEUED, "a")
        assert len(extended_server.of("ack")) == 4

    drive(extended_server, scenario, redis=True)
    assert len(pauses) == 3


def test_what_the_answer_leaves_out_waits_for_the_next(drive, extended_server, pauses):
    extended_server.silent_about = {"b"}

    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a", "b")
        await taking.become(State.QUEUED, "a")
        assert rig.journal.get("b").state is State.TAKEN
        extended_server.silent_about = set()
        await taking.become(State.QUEUED, "b")

    drive(extended_server, scenario, redis=True)


def test_attempts_are_told_apart(drive, extended_server):
    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a", attempt=2)
        await taking.become(State.QUEUED, "a--2")
        assert extended_server.of("ack")[0].document["jobs"] == [{"jobId": "a", "attempt": 2}]

    drive(extended_server, scenario, redis=True)


def test_left_over_rows_are_settled_after_a_restart(drive, extended_server):
    async def scenario(rig):
        rig.journal.take([new_job("a", attempt=1, needs_ack=True)])
        taking = Taking(rig)
        rig.register("ack")
        await taking.become(State.QUEUED, "a")

    drive(extended_server, scenario, redis=True)


def test_a_server_without_permits_drops_what_another_gave(drive, plain_server):
    async def scenario(rig):
        rig.register()
        taking = Taking(rig)
        taking.take("a")
        await rig.until(lambda: rig.journal.get("a") is None)

    drive(plain_server, scenario)


def test_a_rejected_key_asks_for_registration(drive, extended_server):
    extended_server.fail("ack", Status(401))

    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a")
        await rig.until(rig.session.wanted.is_set)
        assert rig.journal.get("a").state is State.TAKEN
        rig.register("ack")
        await taking.become(State.QUEUED, "a")

    drive(extended_server, scenario, redis=True)


def test_redis_away_does_not_stop_permits(drive, extended_server):
    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a")
        await taking.become(State.QUEUED, "a")
        await rig.until(lambda: rig.parts.dispatch.failing)
        assert not taking.task.done()

    drive(extended_server, scenario)


def test_the_stop_does_not_wait_for_an_answer(drive, extended_server):
    extended_server.fail("ack", Slow(20))

    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a")
        await rig.until(lambda: extended_server.of("ack"))
        rig.parts.stop.set()
        await rig.until(taking.task.done)  # the answer takes 20 s

    drive(extended_server, scenario)


def test_while_paused_here_no_permit_is_asked_for(drive, extended_server):
    async def scenario(rig):
        rig.register("ack")
        rig.journal.leave_note("pause", {"reason": None})
        taking = Taking(rig)
        taking.take("a")
        await asyncio.sleep(0.2)
        assert extended_server.of("ack") == []
        rig.journal.leave_note("pause", None)
        taking.taken.set()
        await taking.become(State.QUEUED, "a")

    drive(extended_server, scenario, redis=True)


def test_one_that_is_superseded_keeps_what_waits_and_asks_when_it_holds_the_key_again(drive, extended_server):
    extended_server.always("ack", Status(409, body=b'{"code":"key_in_use","error":"held by another"}'))

    async def scenario(rig):
        rig.register("ack")
        taking = Taking(rig)
        taking.take("a")
        await rig.until(rig.session.wanted.is_set)
        await rig.parts.stop.wait(0.1)
        assert len(extended_server.of("ack")) == 1
        assert rig.journal.get("a").state is State.TAKEN
        extended_server.well("ack")
        rig.register("ack")
        await taking.become(State.QUEUED, "a")

    drive(extended_server, scenario)
