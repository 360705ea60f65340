from __future__ import annotations

import asyncio

import pytest

from easyalert.errors import JournalError
from easyalert.journal import Journal, State
from poller import reporter as module
from poller.bell import Bell
from poller.reporter import Reporter
from tests.poller.conftest import new_job
from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests

pytestmark = pytest.mark.system


class Reporting:
    """The reporter's loop, with its bell."""

    def __init__(self, rig):
        self.bell = Bell()
        self.task = rig.start(Reporter(rig.parts, self.bell.listener()).run)


def state(rig, key):
    return rig.journal.get(key).state


def delivered(rig, *keys):
    return lambda: all(state(rig, key) is State.ACKED for key in keys)


def batches(server):
    return [len(seen.document) for seen in server.of("results")]


def names(count, prefix="j"):
    return [f"{prefix}{number:03}" for number in range(count)]


def test_a_result_goes_out_at_the_bell_and_leaves_on_the_answer(drive, plain_server, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 60.0)  # so that it does not go out for the regular look's sake

    async def scenario(rig):
        rig.register()
        reporting = Reporting(rig)
        await rig.parts.end.wait(0.05)
        rig.finish("a", output={"stdout": "ü"})
        reporting.bell.set()
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)
    assert plain_server.results["a"][0]["output"] == {"stdout": "ü"}


def test_a_job_handed_out_again_while_its_report_is_under_way_is_reported_again(drive, plain_server):
    """The answer to the first report cannot be the answer to the second hand-out."""

    async def scenario(rig):
        rig.finish("a")
        rig.register()
        plain_server.fail("results", Slow(0.3))
        Reporting(rig)
        await rig.until(lambda: plain_server.of("results"))
        assert rig.journal.take([new_job("a")])[0][1] == "answered"
        rig.parts.asked_again.add("a")  # as the polling loop does
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)
    assert len(plain_server.results["a"]) == 2


def test_a_lost_bell_costs_seconds_not_the_result(drive, plain_server):
    async def scenario(rig):
        rig.register()
        Reporting(rig)
        await rig.parts.end.wait(0.05)
        rig.finish("a")
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)


def test_nothing_is_sent_before_registration(drive, plain_server):
    async def scenario(rig):
        rig.finish("a")
        Reporting(rig)
        await rig.parts.end.wait(0.1)
        assert plain_server.seen == []
        rig.register()
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)


def test_small_batches_oldest_first_each_result_once(drive, plain_server):
    async def scenario(rig):
        rig.finish(*names(25))
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, *names(25)))

    drive(plain_server, scenario)
    assert batches(plain_server) == [10, 10, 5]
    assert list(plain_server.results) == names(25)
    assert {len(found) for found in plain_server.results.values()} == {1}


def test_batches_are_limited_in_bytes_too(drive, plain_server):
    async def scenario(rig):
        rig.finish(*names(5), output="x" * 400_000)
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, *names(5)))

    drive(plain_server, scenario)
    assert batches(plain_server) == [2, 2, 1]


def test_a_result_larger_than_a_batch_goes_alone(drive, plain_server):
    async def scenario(rig):
        rig.finish("a", output="x" * 3_000_000)
        rig.finish("b")
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, "a", "b"))

    drive(plain_server, scenario)
    assert batches(plain_server) == [1, 1]


# ---- what the server will never take --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_poisoned_batch_is_split_down_to_the_one_result(drive, plain_server, code):
    plain_server.refuse_item = lambda item: code if item["jobId"] == "j004" else None

    async def scenario(rig):
        rig.finish(*names(10))
        rig.register()
        Reporting(rig)
        others = [name for name in names(10) if name != "j004"]
        await rig.until(delivered(rig, *others))
        await rig.until(lambda: state(rig, "j004") is State.REJECTED)
        assert str(code) in rig.journal.get("j004").rejection
        rig.finish("later")
        await rig.until(delivered(rig, "later"))

    drive(plain_server, scenario)
    assert "j004" not in plain_server.results
    assert {len(found) for found in plain_server.results.values()} == {1}
    assert len(plain_server.of("results")) <= 10  # and it is not tried again


def test_seven_hundred_results_wait_for_a_control_plane_that_is_away(drive, plain_server):
    """None is dropped for its number or its age."""
    waiting = names(700)

    async def scenario(rig):
        plain_server.always("results", Status(503))
        rig.finish(*waiting)
        rig.register()
        Reporting(rig)
        await rig.until(lambda: plain_server.of("results"))
        assert len(rig.journal.unreported(limit=1000)) == 700
        plain_server.well("results")
        await rig.until(delivered(rig, *waiting), within=30)

    drive(plain_server, scenario)
    assert {name: len(found) for name, found in plain_server.results.items()} == dict.fromkeys(waiting, 1)


def test_one_result_too_large_for_the_server_does_not_block_the_others(drive, plain_server, caplog):
    plain_server.max_body_bytes = 50_000

    async def scenario(rig):
        rig.finish("before")
        rig.finish("big", output="x" * 60_000)
        rig.finish("after")
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, "before", "after"))
        await rig.until(lambda: state(rig, "big") is State.REJECTED)

    drive(plain_server, scenario)
    assert "easyalert-agent jobs --rejected" in caplog.text


def test_refusals_do_not_open_the_breaker(drive, plain_server):
    plain_server.refuse_item = lambda _item: 422

    async def scenario(rig):
        rig.finish(*names(30))
        rig.register()
        Reporting(rig)
        await rig.until(lambda: all(state(rig, name) is State.REJECTED for name in names(30)))
        assert rig.parts.client.breaker.closed

    drive(plain_server, scenario)


# ---- what is only delayed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Status(500),
        Status(503),
        Status(404),
        Status(302),
        Status(405),
        Cut("before"),
        Cut("headers"),
        too_many_requests("0"),
    ],
)
def test_trouble_loses_nothing_and_keeps_the_first_time(drive, plain_server, pauses, fault):
    plain_server.fail("results", *[fault] * 4)

    async def scenario(rig):
        rig.finish(*names(12))
        before = {name: rig.journal.get(name).finished_at for name in names(12)}
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, *names(12)))
        assert {name: rig.journal.get(name).finished_at for name in names(12)} == before
        assert rig.condition.note()["state"] == "ok"

    drive(plain_server, scenario)
    assert {len(found) for found in plain_server.results.values()} == {1}


@pytest.mark.parametrize("at", ["before", "headers", "body"])
def test_an_answer_lost_after_the_server_took_them_is_asked_for_again(drive, plain_server, pauses, at):
    plain_server.fail("results", Cut(at, after_work=True))

    async def scenario(rig):
        rig.finish("a")
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)
    assert len(plain_server.results["a"]) == 2  # the same result: the server counts it once
    assert plain_server.results["a"][0] == plain_server.results["a"][1]


def test_a_result_that_breaks_the_server_does_not_hold_up_the_others(drive, plain_server, pauses):
    plain_server.refuse_item = lambda item: 500 if item["jobId"] == "j003" else None

    async def scenario(rig):
        rig.finish(*names(10))
        rig.register()
        Reporting(rig)
        await rig.until(delivered(rig, *[name for name in names(10) if name != "j003"]))
        assert state(rig, "j003") is State.DONE  # kept for ever
        plain_server.refuse_item = lambda _item: None
        await rig.until(delivered(rig, "j003"))

    drive(plain_server, scenario)
    assert {len(found) for found in plain_server.results.values()} == {1}


def test_pauses_grow_and_the_open_breaker_is_waited_for(drive, plain_server, pauses):
    plain_server.always("results", Status(503))

    async def scenario(rig):
        rig.finish(*names(30))
        rig.register()
        Reporting(rig)
        await rig.until(lambda: rig.parts.client.breaker.seconds_left() > 0)
        await rig.parts.end.wait(0.2)
        assert len(plain_server.of("results")) == 9

    drive(plain_server, scenario)
    assert batches(plain_server)[1:] == [1] * 8


def test_a_huge_retry_after_is_capped_and_interrupted(drive, plain_server):
    plain_server.always("results", too_many_requests("999999"))

    async def scenario(rig):
        rig.finish("a")
        rig.register()
        reporting = Reporting(rig)
        await rig.until(lambda: "45 s" in rig.condition.note()["state"])
        rig.parts.end.set()
        await rig.until(reporting.task.done)

    drive(plain_server, scenario)


def test_a_key_no_longer_accepted_asks_for_registration_and_keeps_results(drive, plain_server):
    plain_server.fail("results", Status(401))

    async def scenario(rig):
        rig.finish("a")
        rig.register()
        Reporting(rig)
        await rig.until(rig.session.wanted.is_set)
        assert state(rig, "a") is State.DONE
        rig.register()
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)


def test_a_firewall_that_dislikes_one_result_is_no_endless_registration(drive, plain_server, pauses):
    plain_server.refuse_item = lambda item: 403 if item["jobId"] == "j003" else None

    async def scenario(rig):
        rig.finish(*names(10))
        rig.register()
        Reporting(rig)
        registrations = 0
        while not delivered(rig, *[name for name in names(10) if name != "j003"])():
            if rig.session.wanted.is_set():
                rig.register()
                rig.session.confirmed()
                registrations += 1
            await rig.parts.end.wait(0.002)
        assert state(rig, "j003") is State.DONE
        assert registrations <= len(pauses)  # each with a pause

    drive(plain_server, scenario)


def test_what_was_answered_but_could_not_be_marked_is_not_sent_twice(drive, plain_server, monkeypatch):
    original, failures = Journal.mark_reported, []

    def mark(self, keys):
        if len(failures) < 2:
            failures.append(1)
            raise JournalError("the disk is full")
        original(self, keys)

    monkeypatch.setattr(Journal, "mark_reported", mark)

    async def scenario(rig):
        rig.finish("a")
        rig.register()
        reporter = Reporter(rig.parts, asyncio.Event())
        for _ in range(2):
            with pytest.raises(JournalError):
                await reporter.run()
        rig.start(reporter.run)
        await rig.until(delivered(rig, "a"))

    drive(plain_server, scenario)
    assert len(plain_server.results["a"]) == 1


# ---- receipts -------------------------------------------------------------------------------------------------------


def test_receipts_decide_each_result_by_itself(drive, extended_server):
    fates = {"dup": ("duplicate", None), "no": ("rejected", "unknown job")}
    extended_server.receipt_of = lambda item: fates.get(item["jobId"], ("accepted", None))

    async def scenario(rig):
        rig.finish("yes", "dup", "no", attempt=2)
        rig.register("receipts")
        Reporting(rig)
        await rig.until(delivered(rig, "yes--2", "dup--2"))
        await rig.until(lambda: state(rig, "no--2") is State.REJECTED)
        assert rig.journal.get("no--2").rejection == "unknown job"

    drive(extended_server, scenario)
    sent = extended_server.results["yes"][0]
    assert sent["attempt"] == 2
    assert sent["outcome"] == "finished"
    assert sent["timings"]["reportedMs"] >= sent["timings"]["finishedMs"]
    assert len(extended_server.of("results")) == 1


def test_a_result_without_a_receipt_stays_and_is_sent_again(drive, extended_server, pauses):
    extended_server.silent_about = {"b"}

    async def scenario(rig):
        rig.finish("a", "b", attempt=1)
        rig.register("receipts")
        Reporting(rig)
        await rig.until(delivered(rig, "a"))
        assert state(rig, "b") is State.DONE
        extended_server.silent_about = set()
        await rig.until(delivered(rig, "b"))

    drive(extended_server, scenario)


@pytest.mark.parametrize("body", [b"taken", b'{"data":null}', b'{"data":{"results":[{"jobId":1}]}}'])
def test_an_answer_without_receipts_is_no_answer_where_they_were_promised(drive, extended_server, pauses, body):
    extended_server.fail("results", Answer(body))

    async def scenario(rig):
        rig.finish("a", attempt=1)
        rig.register("receipts")
        Reporting(rig)
        await rig.until(delivered(rig, "a"))

    drive(extended_server, scenario)
    assert len(extended_server.of("results")) == 2


def test_the_end_does_not_wait_for_an_answer_for_ever(drive, plain_server):
    plain_server.fail("results", Slow(20))

    async def scenario(rig):
        rig.finish("a")
        rig.register()
        reporting = Reporting(rig)
        await rig.until(lambda: plain_server.of("results"))
        reporting.task.cancel()
        await rig.until(reporting.task.done)
        assert state(rig, "a") is State.DONE  # kept

    drive(plain_server, scenario)
