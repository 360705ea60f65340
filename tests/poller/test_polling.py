from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from easyalert.errors import JournalError
from easyalert.journal import Journal, State
from easyalert.journal.pause import CONTROL_NOTE, pause_here
from easyalert.runtime import this_process
from poller.bell import Bell
from poller.brake import Brake
from poller.polling import Polling
from tests.poller.conftest import job, new_job, result
from tests.support.extended_server import ExtendedServer
from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests

pytestmark = pytest.mark.system


class Polled:
    """The polling loop with what it needs around it."""

    def __init__(self, rig, brake=None, **more):
        self.rig = rig
        self.bell = Bell()
        self.report = self.bell.listener()
        self.taken = asyncio.Event()
        brake = brake or Brake(rig.parts.settings, rig.journal)
        self.task = rig.start(
            Polling(rig.parts, brake=brake, key=rig.key, bell=self.bell, taken=self.taken, **more).run
        )


def states(rig):
    return {row.job_id: row.state for row in rig.journal.latest()}


async def enqueued(rig, *keys):
    for _ in range(500):
        if await rig.parts.dispatch.keys() == set(keys):
            return
        await rig.parts.stop.wait(0.01)
    raise AssertionError(f"{keys} were not enqueued")


def test_nothing_is_asked_before_registration(drive, plain_server):
    async def scenario(rig):
        Polled(rig)
        await rig.parts.stop.wait(0.1)
        assert plain_server.seen == []
        rig.register()
        await rig.until(lambda: plain_server.of("poll"))

    drive(plain_server, scenario)


def test_a_plain_poll_journals_then_enqueues_and_asks_again_at_once(drive, plain_server):
    plain_server.give(job("a"), job("b"))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: len(plain_server.of("poll")) == 2)  # not after POLL_INTERVAL: there was work
        assert states(rig) == {"a": State.QUEUED, "b": State.QUEUED}
        await enqueued(rig, "a", "b")

    drive(plain_server, scenario, redis=True, poll_interval=3600)


def test_an_ended_job_that_is_handed_out_again_is_named_to_the_reporter(drive, plain_server):
    async def scenario(rig):
        rig.finish("a")
        plain_server.give(job("a"), job("b"))
        rig.register()
        Polled(rig)
        await rig.until(lambda: states(rig).get("b") is State.QUEUED)
        assert rig.parts.asked_again == {"a"}
        assert states(rig)["a"] is State.DONE

    drive(plain_server, scenario, redis=True)


def test_malformed_entries_lose_nobody_and_nothing_is_called_unknown(drive, plain_server):
    plain_server.give(None, job("a"), "text", 7, [job("x")], {"actionType": "a.b"}, {"jobId": ""}, job("b"))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: set(states(rig)) == {"a", "b"})

    drive(plain_server, scenario, redis=True)


def test_a_job_that_cannot_run_is_answered_at_once(drive, plain_server):
    plain_server.give(job("a", params=["no object"]), job("b", params=None))

    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        await rig.until(lambda: states(rig) == {"a": State.DONE, "b": State.QUEUED})
        assert polled.report.is_set()
        await enqueued(rig, "b")
        assert rig.journal.get("a").result["error"].startswith("refused: ")

    drive(plain_server, scenario, redis=True)


def test_more_jobs_than_workers_wait_and_do_not_fail(drive, plain_server):
    plain_server.give(*[job(f"j{n}") for n in range(20)])

    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        await rig.until(lambda: len(rig.journal.queued()) == 20)
        await rig.parts.stop.wait(0.2)
        assert len(plain_server.of("poll")) == 1  # no worker is free: nothing more is asked
        for row in rig.journal.queued()[:19]:
            rig.journal.start(row.key, this_process())
            rig.journal.finish(row.key, result(row.job_id))
        polled.bell.set()
        await rig.until(lambda: len(plain_server.of("poll")) == 2)
        assert len(rig.journal.queued()) == 1

    drive(plain_server, scenario, redis=True, max_concurrent_jobs=2, poll_interval=3600)


def test_a_freed_worker_cuts_the_idle_wait_short(drive, plain_server):
    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        await rig.until(lambda: plain_server.of("poll"))
        await rig.parts.stop.wait(0.3)
        assert len(plain_server.of("poll")) == 1
        polled.bell.set()
        await rig.until(lambda: len(plain_server.of("poll")) == 2)

    drive(plain_server, scenario, poll_interval=3600)


def test_many_short_jobs_are_no_storm_of_requests(drive, plain_server):
    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        began = time.monotonic()
        for _ in range(60):
            polled.bell.set()
            await rig.parts.stop.wait(0.01)
        assert len(plain_server.of("poll")) <= 2 + (time.monotonic() - began) / 0.25

    drive(plain_server, scenario, poll_interval=3600)


def test_poll_interval_with_jitter_while_idle(drive, plain_server):
    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: len(plain_server.of("poll")) == 3)

    drive(plain_server, scenario, poll_interval=1)
    times = [seen.at for seen in plain_server.of("poll")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(0.85 <= gap <= 3 for gap in gaps), gaps


def test_a_repeated_job_is_never_an_error_result(drive, plain_server):
    plain_server.give(job("a"))

    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        await rig.until(lambda: rig.journal.get("a"))
        rig.journal.start("a", this_process())
        plain_server.give(job("a"))
        polled.bell.set()
        await rig.until(lambda: not plain_server.waiting)
        await rig.until(lambda: len(plain_server.of("poll")) >= 3)
        assert rig.journal.get("a").state is State.STARTED  # running: ignored
        rig.journal.finish("a", result("a"))
        rig.journal.mark_reported(["a"])
        plain_server.give(job("a"), job("a"))
        polled.bell.set()
        await rig.until(lambda: rig.journal.get("a").state is State.DONE)  # finished: sent again
        assert rig.journal.get("a").result == result("a")
        await rig.until(polled.report.is_set)

    drive(plain_server, scenario, redis=True)


def test_two_copies_in_one_answer_are_one_job(drive, plain_server):
    plain_server.give(job("a"), job("a"))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: rig.journal.get("a"))
        assert len(rig.journal.latest()) == 1

    drive(plain_server, scenario, redis=True)


# ---- long poll ------------------------------------------------------------------------------------------------------


def test_long_poll_asks_for_free_workers_only(drive, extended_server):
    async def scenario(rig):
        rig.journal.take([new_job("busy")])
        rig.register("longPoll", "ack", long_poll_s=20)
        polled = Polled(rig)
        await rig.until(lambda: extended_server.of("poll"))
        assert extended_server.of("poll")[0].query == {"agentId": "agt_1", "wait": "20", "slots": "2"}
        extended_server.give(job("a"), job("b"), job("c"))
        await rig.until(lambda: len(states(rig)) == 3, within=15)  # not after 20 s
        await rig.until(polled.taken.is_set)
        assert states(rig)["a"] is State.TAKEN  # no permit yet
        await rig.parts.stop.wait(0.1)
        assert len(extended_server.of("poll")) == 1  # every worker has something
        assert len(extended_server.waiting) == 1

    drive(extended_server, scenario, max_concurrent_jobs=3)


def test_a_long_poll_is_followed_by_the_next_without_a_pause(drive, extended_server):
    async def scenario(rig):
        rig.register("longPoll", "ack", long_poll_s=1)
        Polled(rig)
        await rig.until(lambda: len(extended_server.of("poll")) == 3)

    drive(extended_server, scenario, poll_interval=3600)
    first, second, _ = extended_server.of("poll")
    assert second.at - first.at >= 0.9


def test_a_server_that_answers_long_polls_empty_at_once_is_no_hot_loop(drive, extended_server):
    extended_server.always("poll", Answer(b'{"data":[]}'))

    async def scenario(rig):
        rig.register("longPoll", long_poll_s=25)
        Polled(rig)
        await rig.parts.stop.wait(0.6)
        assert len(extended_server.of("poll")) == 1

    drive(extended_server, scenario)


def test_the_stop_cuts_a_long_poll_off(drive, extended_server):
    async def scenario(rig):
        rig.register("longPoll", "ack", long_poll_s=25)
        polled = Polled(rig)
        await rig.until(lambda: extended_server.of("poll"))
        rig.parts.stop.set()
        await rig.until(polled.task.done)

    drive(extended_server, scenario)


def test_a_plain_poll_under_way_at_the_stop_is_heard_out_and_journalled(drive, plain_server):
    plain_server.fail("poll", Slow(0.3))
    plain_server.give(job("a"))

    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        await rig.until(lambda: plain_server.of("poll"))
        rig.parts.stop.set()
        await rig.until(polled.task.done)
        assert states(rig) == {"a": State.QUEUED}
        assert len(plain_server.of("poll")) == 1

    drive(plain_server, scenario)


def test_without_long_poll_slots_are_not_told(drive):
    server = ExtendedServer("ack")
    try:
        server.give(job("a"))

        async def scenario(rig):
            rig.register("ack")
            Polled(rig)
            await rig.until(lambda: rig.journal.get("a"))

        drive(server, scenario)
        assert server.violations == []
    finally:
        server.close()


# ---- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Status(500), Status(404), Status(302), Cut("before"), Cut("body"), Answer(b"[]"), Answer(b"junk")],
)
def test_failures_are_said_and_tried_again_with_growing_pauses(drive, plain_server, pauses, fault):
    plain_server.fail("poll", *[fault] * 5)
    plain_server.give(job("a"))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: "a" in states(rig))
        note = rig.condition.note()
        assert note["state"] == "ok"
        assert note["lastError"] is not None
        assert note["lastPollAt"] is not None

    drive(plain_server, scenario, redis=True)
    assert len(pauses) == 5
    assert pauses[4] > pauses[0]
    assert max(pauses) <= 8


def test_a_huge_retry_after_is_capped_and_the_stop_interrupts_it(drive, plain_server):
    plain_server.always("poll", too_many_requests("99999999"))

    async def scenario(rig):
        rig.register()
        polled = Polled(rig)
        await rig.until(lambda: "45 s" in rig.condition.note()["state"])
        rig.parts.stop.set()
        await rig.until(polled.task.done)

    drive(plain_server, scenario)


@pytest.mark.parametrize("code", [401, 403, 409])
def test_a_key_no_longer_accepted_asks_for_registration_and_for_nothing_else(drive, plain_server, pauses, code):
    plain_server.always("poll", Status(code))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(rig.session.wanted.is_set)
        await rig.parts.stop.wait(0.1)
        assert len(plain_server.of("poll")) == 1
        plain_server.well("poll")
        rig.register()
        await rig.until(lambda: len(plain_server.of("poll")) >= 2)
        await rig.until(lambda: rig.session.losses == 0)

    drive(plain_server, scenario)


def test_one_that_is_superseded_asks_for_nothing_until_it_holds_the_key_again(drive, plain_server, pauses):
    plain_server.always("poll", Status(409, body=b'{"code":"key_in_use","error":"held by another"}'))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(rig.session.wanted.is_set)
        await rig.parts.stop.wait(0.1)
        assert len(plain_server.of("poll")) == 1
        assert rig.session.ready.is_set(), "what it has is still reported"
        assert rig.condition.note()["state"] == "ok", "the registration says it, once"
        plain_server.well("poll")
        rig.register()
        await rig.until(lambda: len(plain_server.of("poll")) >= 2)

    drive(plain_server, scenario)


def test_after_a_failure_the_first_question_is_a_short_one(drive, extended_server, pauses):
    extended_server.fail("poll", Status(503))

    async def scenario(rig):
        rig.register("longPoll", "ack", long_poll_s=25)
        Polled(rig)
        await rig.until(lambda: len(extended_server.of("poll")) == 3)

    drive(extended_server, scenario)
    assert [seen.query["wait"] for seen in extended_server.of("poll")] == ["25", "0", "25"]


def test_the_open_breaker_is_waited_for_not_asked(drive, plain_server, pauses):
    plain_server.always("poll", Status(503))

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: rig.parts.client.breaker.seconds_left() > 0)
        await rig.parts.stop.wait(0.2)
        assert len(plain_server.of("poll")) == 9

    drive(plain_server, scenario)


def test_a_journal_that_fails_for_a_while_loses_no_job(drive, plain_server, pauses, monkeypatch):
    plain_server.give(job("a"))
    original, failures = Journal.take, []

    def take(self, jobs):
        if len(failures) < 3:
            failures.append(1)
            raise JournalError("the disk is full")
        return original(self, jobs)

    monkeypatch.setattr(Journal, "take", take)

    async def scenario(rig):
        rig.register()
        Polled(rig)
        await rig.until(lambda: rig.journal.get("a"))
        assert rig.condition.note()["lastError"] == "the disk is full"

    drive(plain_server, scenario, redis=True)


# ---- the brake ------------------------------------------------------------------------------------------------------


def test_nothing_is_taken_while_the_brake_is_on(drive, plain_server):
    class Pressed:
        reason_now = "the disk is nearly full"

        def reason(self):
            return self.reason_now

    async def scenario(rig):
        brake = Pressed()
        rig.register()
        Polled(rig, brake)
        await rig.until(lambda: rig.condition.note()["paused"] == "the disk is nearly full")
        assert plain_server.of("poll") == []
        brake.reason_now = None
        await rig.until(lambda: plain_server.of("poll"))
        assert rig.condition.note()["paused"] is None

    drive(plain_server, scenario)


def test_nothing_is_taken_while_redis_is_away(drive, plain_server):
    async def scenario(rig):
        rig.parts.dispatch.failing = "Redis does not answer"
        rig.register()
        Polled(rig)
        await rig.until(lambda: "Redis" in (rig.condition.note()["paused"] or ""))
        assert plain_server.of("poll") == []

    drive(plain_server, scenario)


# ---- paused and drained ---------------------------------------------------------------------------------------------


def test_a_paused_agent_asks_for_nothing_until_its_time_is_over(drive, extended_server):
    async def scenario(rig):
        now = [1_800_000_000.0]
        pause_here(rig.journal, now[0], reason="disk", until=now[0] + 3600, by="ada")
        rig.register("longPoll", "ack", long_poll_s=20)
        polled = Polled(rig, clock=lambda: now[0])
        await rig.until(lambda: rig.condition.note()["paused"])
        assert "paused here" in rig.condition.note()["paused"]
        now[0] += 3599
        polled.bell.set()
        await asyncio.sleep(0.1)
        assert extended_server.of("poll") == []
        now[0] += 1
        polled.bell.set()
        await rig.until(lambda: extended_server.of("poll"))
        assert rig.condition.note()["paused"] is None

    drive(extended_server, scenario)


@pytest.mark.parametrize("note", ["pause", "control"])
def test_a_pause_ends_a_long_poll_that_waits(drive, extended_server, note):
    async def scenario(rig):
        rig.register("longPoll", "ack", long_poll_s=20)
        polled = Polled(rig)
        await rig.until(lambda: extended_server.of("poll"))
        await asyncio.sleep(0.05)
        rig.journal.leave_note(note, {"reason": "disk"} if note == "pause" else {"drain": {"reason": "moves"}})
        polled.bell.set()
        await rig.until(lambda: rig.condition.note()["paused"])
        rig.journal.leave_note(note, None)
        polled.bell.set()
        await rig.until(lambda: len(extended_server.of("poll")) == 2)

    drive(extended_server, scenario)


def test_the_control_planes_poll_interval_counts(drive, plain_server):
    async def scenario(rig):
        rig.journal.leave_note(CONTROL_NOTE, {"pollIntervalSeconds": 1})
        rig.register()
        Polled(rig)
        await rig.until(lambda: len(plain_server.of("poll")) >= 3)

    drive(plain_server, scenario, poll_interval=60)
