from __future__ import annotations

import asyncio

import pytest

from easyalert.runtime import ProcessIdentity, boot_id, this_process
from easyalert.spool import JobOfSpool, SpoolWriter, shown_spools
from poller import output
from poller.output import OutputSender
from tests.poller.conftest import new_job, result
from tests.support.extended_server import ExtendedServer
from tests.support.faults import Cut, Status, too_many_requests

pytestmark = pytest.mark.system
GONE = ProcessIdentity(boot_id(), 2**22 - 1, 1)


@pytest.fixture
def server():
    server = ExtendedServer("ack", "receipts", "output")
    yield server
    server.close()
    assert server.violations == []


class Printing:
    """A running job's spool, and the loop that sends it."""

    def __init__(self, rig, key="a", owner=None):
        self.rig = rig
        self.printed = asyncio.Event()
        self.folder = rig.parts.settings.output_dir
        self.writer = SpoolWriter(self.folder, key, JobOfSpool(f"job_{key}", 1, owner or this_process()))

    def start(self):
        self.rig.start(OutputSender(self.rig.parts, self.printed).run)

    def feed(self, data, stream="stdout"):
        self.writer.feed(stream, data)
        self.writer.show()
        self.printed.set()

    def end(self):
        self.writer.close()
        self.printed.set()


def stdout(server, job_id="job_a"):
    return bytes(server.printed.get(job_id, {}).get("stdout", b""))


def test_it_goes_out_as_it_comes_and_the_spool_goes_when_all_is_there(drive, server, monkeypatch):
    monkeypatch.setattr(output, "_LOOK_S", 60.0)  # so that nothing goes out for the regular look's sake

    async def scenario(rig):
        rig.register("output")
        job = Printing(rig)
        job.start()
        await asyncio.sleep(0.15)
        job.feed(b"one\n")
        await rig.until(lambda: stdout(server) == b"one\n")
        job.feed(b"oops\n", "stderr")
        await rig.until(lambda: server.printed["job_a"]["stderr"] == b"oops\n")
        job.end()
        await rig.until(lambda: server.totals.get("job_a"))
        await rig.until(lambda: shown_spools(job.folder) == [])

    drive(server, scenario)
    assert server.totals["job_a"] == {"stdout": 4, "stderr": 5}
    assert {request.document["attempt"] for request in server.of("output")} == {1}


@pytest.mark.parametrize("fault", [Status(503), Cut("headers"), Cut("body"), Status(500), too_many_requests("0")])
def test_a_failure_costs_nothing_and_doubles_nothing(drive, server, fault, pauses):
    async def scenario(rig):
        rig.register("output")
        job = Printing(rig)
        server.fail("output", fault, fault)
        job.feed(b"one\n")
        job.start()
        await rig.until(lambda: stdout(server) == b"one\n")
        server.fail("output", fault)
        job.feed(b"two\n")
        job.end()
        await rig.until(lambda: server.totals.get("job_a"))
        assert rig.parts.client.breaker.closed

    drive(server, scenario)
    assert stdout(server) == b"one\ntwo\n"


def test_failing_output_never_stops_results_and_polls(drive, server, pauses):
    async def scenario(rig):
        rig.register("output")
        server.always("output", Status(500))
        job = Printing(rig)
        job.feed(b"one\n")
        job.start()
        await rig.until(lambda: len(server.of("output")) > 15)
        assert rig.parts.client.breaker.closed

    drive(server, scenario)


def test_a_new_poller_goes_on_where_the_old_one_was(drive, server):
    server.printed["job_a"] = {"stdout": bytearray(b"one\n"), "stderr": bytearray()}
    server.expected["job_a"] = 4

    async def scenario(rig):
        rig.register("output")
        job = Printing(rig)
        job.feed(b"one\n")
        job.feed(b"two\n")
        job.end()
        job.start()
        await rig.until(lambda: server.totals.get("job_a"))

    drive(server, scenario)
    assert stdout(server) == b"one\ntwo\n"


def test_a_plain_server_gets_none_of_it_and_the_spool_goes_with_the_job(drive, plain_server):
    async def scenario(rig):
        rig.register()
        job = Printing(rig)
        job.feed(b"one\n")
        job.start()
        await asyncio.sleep(0.25)
        assert shown_spools(job.folder) == ["a"]  # for people on this machine
        job.end()
        await rig.until(lambda: shown_spools(job.folder) == [])

    drive(plain_server, scenario)
    assert plain_server.seen == []


def test_what_a_killed_worker_had_printed_comes_to_its_end(drive, server, monkeypatch):
    monkeypatch.setattr(output, "_LOOK_S", 0.1)
    monkeypatch.setattr(output, "_EARLY_S", 0.0)

    async def scenario(rig):
        rig.register("output")
        rig.journal.take([new_job("a")])
        rig.journal.start("a", this_process())
        job = Printing(rig, owner=GONE)
        job.writer.feed("stdout", b"last words\n")  # killed before anybody was told
        job.start()
        await rig.until(lambda: stdout(server) == b"last words\n")
        await asyncio.sleep(0.3)
        assert not server.totals  # the journal says it runs: it may be run again
        rig.journal.finish("a", result("a"))
        await rig.until(lambda: server.totals.get("job_a") == {"stdout": 11, "stderr": 0})
        await rig.until(lambda: shown_spools(job.folder) == [])

    drive(server, scenario)


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_refusal_for_good_is_not_argued_with(drive, server, status):
    server.always("output", Status(status))

    async def scenario(rig):
        rig.register("output")
        job = Printing(rig)
        job.feed(b"one\n")
        job.start()
        await rig.until(lambda: server.of("output"))
        job.feed(b"two\n")
        await asyncio.sleep(0.3)
        job.end()
        await rig.until(lambda: shown_spools(job.folder) == [])

    drive(server, scenario)
    assert len(server.of("output")) == 1


def test_one_job_that_prints_much_does_not_keep_the_others_waiting(drive, server):
    async def scenario(rig):
        rig.register("output")
        loud, quiet = Printing(rig, "a"), Printing(rig, "b")
        for _ in range(16):
            loud.feed(b"y" * 65_536)
        loud.start()
        await rig.until(lambda: server.of("output"))
        quiet.feed(b"one\n")
        await rig.until(lambda: stdout(server, "job_b") == b"one\n")
        assert len(stdout(server)) < 16 * 65_536  # its turn came before the loud one's end

    drive(server, scenario)


def test_ended_spools_are_bounded_while_nobody_takes_them(drive, server, monkeypatch, pauses):
    monkeypatch.setattr(output, "_LOOK_S", 0.05)
    monkeypatch.setattr(output, "KEPT_BYTES", 25_000)
    server.always("output", Status(503))

    async def scenario(rig):
        rig.register("output")
        for key in "abcd":
            job = Printing(rig, key)
            job.feed(b"y" * 10_000)
            job.end()
        running = Printing(rig, "running")
        running.feed(b"y" * 30_000)
        running.start()
        await rig.until(lambda: len(shown_spools(running.folder)) == 3)
        assert "running" in shown_spools(running.folder)

    drive(server, scenario)
