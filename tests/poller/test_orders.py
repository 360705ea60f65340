from __future__ import annotations

import asyncio
import socket
import time

import pytest

from easyalert.journal import State
from easyalert.journal.pause import CONTROL_NOTE
from easyalert.runtime import this_process
from poller.bell import Bell
from poller.orders import Orders
from tests.poller.conftest import new_job, result
from tests.support.extended_server import ExtendedServer
from tests.support.faults import Status

pytestmark = pytest.mark.system


@pytest.fixture
def server():
    found = ExtendedServer("longPoll", "ack", "receipts", "cancel", "control")
    yield found
    found.close()
    assert found.violations == []


class Listening:
    """The loop, and a stand-in for the workers' bell."""

    def __init__(self, rig, *features, long_poll_s=20):
        self.rig = rig
        self.bell = Bell()
        self.report = self.bell.listener()
        self.workers = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.workers.bind(str(rig.parts.settings.workers_socket))
        rig.register("longPoll", "ack", *features, long_poll_s=long_poll_s)
        self.task = rig.start(Orders(rig.parts, bell=self.bell).run)

    def take(self, *job_ids, start=False):
        journal = self.rig.journal
        journal.take([new_job(job_id, attempt=1, needs_ack=True, lease_s=60) for job_id in job_ids])
        if start:
            journal.acknowledge(job_ids)
            for job_id in job_ids:
                assert journal.start(job_id, this_process())
        self.rig.parts.holding.set()

    def rung(self):
        try:
            return bool(self.workers.recv(16))
        except BlockingIOError:
            return False

    async def listens(self, server):
        await self.rig.until(lambda: asked(server))
        await asyncio.sleep(0.05)


def asked(server):
    return [request for request in server.of("poll") if request.query.get("slots") == "0"]


def test_a_running_job_is_marked_and_the_workers_are_woken_at_once(drive, server):
    async def scenario(rig):
        listening = Listening(rig, "cancel")
        listening.take("a", "b", start=True)
        await listening.listens(server)
        server.cancel("a")
        await rig.until(listening.rung)  # not at the end of the question's 25 s
        assert [row.key for row in rig.journal.cancel_requests()] == ["a"]
        assert rig.journal.get("a").cancel_by == "the control plane"
        listening.workers.close()

    drive(server, scenario)


def test_a_job_that_has_not_started_is_over_and_reported_at_once(drive, server):
    async def scenario(rig):
        listening = Listening(rig, "cancel")
        listening.take("a")
        await listening.listens(server)
        server.cancel("a")
        await rig.until(listening.report.is_set)
        assert rig.journal.get("a").state is State.CANCELLED
        assert not listening.rung()
        listening.workers.close()

    drive(server, scenario)


def test_orders_are_repeated_without_a_storm_of_requests_until_the_result_is_there(drive, server):
    async def scenario(rig):
        listening = Listening(rig, "cancel")
        listening.take("a", start=True)
        server.cancel("a")
        await rig.until(lambda: len(asked(server)) >= 3)
        began = time.monotonic()
        first = len(asked(server))
        await rig.until(lambda: len(asked(server)) >= first + 2)
        assert time.monotonic() - began > 0.4
        rig.journal.finish("a", result("a"))
        await asyncio.sleep(0.6)
        seen = len(asked(server))
        await asyncio.sleep(0.8)
        assert len(asked(server)) == seen, "nothing is held: nothing can be cancelled"
        assert rig.journal.get("a").outcome == "finished"
        listening.workers.close()

    drive(server, scenario)


def test_without_the_feature_nothing_is_asked(drive, server):
    async def scenario(rig):
        listening = Listening(rig)
        listening.take("a", start=True)
        await asyncio.sleep(0.3)
        assert server.of("poll") == []
        listening.workers.close()

    drive(server, scenario)


def test_what_the_answer_to_a_heartbeat_said_counts_as_much(drive, server):
    async def scenario(rig):
        listening = Listening(rig)
        listening.take("a", start=True)
        orders = [{"jobId": "a", "attempt": 1}, {"jobId": "unknown", "attempt": 1}, {"jobId": 7}, "x"]
        rig.journal.leave_note(CONTROL_NOTE, {"cancelJobs": orders})
        listening.bell.set()
        await rig.until(listening.rung)
        assert [row.key for row in rig.journal.cancel_requests()] == ["a"]
        listening.workers.close()

    drive(server, scenario)


def test_a_failing_control_plane_is_asked_again_with_pauses(drive, server, pauses):
    async def scenario(rig):
        server.fail("poll", Status(503), Status(500))
        listening = Listening(rig, "cancel")
        listening.take("a", start=True)
        server.cancel("a")
        await rig.until(listening.rung)
        assert len(pauses) == 2
        assert rig.condition.note()["state"] == "ok"
        server.fail("poll", Status(401))
        await rig.until(rig.session.wanted.is_set)
        listening.workers.close()

    drive(server, scenario)


def test_one_that_is_superseded_does_not_listen_until_it_holds_the_key_again(drive, server):
    server.always("poll", Status(409, body=b'{"code":"key_in_use","error":"held by another"}'))

    async def scenario(rig):
        rig.journal.take([new_job("a")])
        listening = Listening(rig, "cancel")
        await rig.until(rig.session.wanted.is_set)
        await rig.parts.stop.wait(0.1)
        assert len(server.of("poll")) == 1
        listening.workers.close()

    drive(server, scenario)
