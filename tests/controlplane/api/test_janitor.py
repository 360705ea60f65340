"""What ends by time, in a running server."""

import asyncio

import pytest

from controlplane.api.janitor import HOUSEKEEPING_S, Janitor
from controlplane.models.tables import Job
from controlplane.services import sweep
from controlplane.services.lifecycle import LEASE_S
from tests.controlplane.live import LiveService
from tests.controlplane.world import result
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


def test_a_lease_that_ends_hands_the_job_to_another_poll(service):
    agent, other = service.agent(), service.agent()
    job = service.submit(poolId="default")
    service.clock.sleep(3)
    agent.poll()
    service.clock.sleep(LEASE_S)
    other.heartbeat()
    (wire,) = eventually(lambda: other.poll(wait=5), what="the second hand-out")
    assert (wire["jobId"], wire["attempt"]) == (job, 2)


def test_credentials_leave_the_files_of_a_running_server(service):
    agent = service.agent()
    params = {"connectionId": "c", "credentials": {"password": "s3cret-canary"}}
    job = service.submit("system.storeCredential", params=params)
    (wire,) = agent.poll()
    file = service.database.file
    with service.database.read() as session:
        sealed = session.get_one(Job, job).params["credentials"].encode()

    def held(text=sealed):
        files = [p for p in file.parent.iterdir() if p.name.startswith(file.name)]
        return any(text in p.read_bytes() for p in files)

    assert held(), "sealed, until the agent has it"
    assert not held(b"s3cret-canary")
    agent.ack(wire)
    eventually(lambda: not held(), what="the scrubbed database")


def test_a_failing_tick_is_tried_again(service, monkeypatch, caplog):
    janitor = Janitor(service.runtime, tick_s=0.001)
    calls = []

    async def tick():
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError
        raise asyncio.CancelledError

    monkeypatch.setattr(janitor, "tick", tick)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(janitor.run())
    assert len(calls) == 3
    assert "trying again" in caplog.text


def test_housekeeping_once_an_hour(service, monkeypatch):
    done = []
    monkeypatch.setattr(sweep, "housekeeping", lambda _s, now: done.append(now))

    async def run():
        janitor = Janitor(service.runtime)
        for _ in range(3):
            await janitor.tick()
            service.clock.sleep(HOUSEKEEPING_S / 2)

    asyncio.run(run())
    assert len(set(done)) == 2, "twice in an hour and a half"


def test_nobody_is_silent_while_the_server_stood_still(service, monkeypatch, caplog):
    """`docker pause`, a laptop's lid: the first tick afterwards must not judge by the time in between."""

    async def run():
        loop = asyncio.get_running_loop()
        real = loop.time
        janitor = Janitor(service.runtime)
        await janitor.tick()
        before = service.runtime.up_since
        await janitor.tick()
        assert service.runtime.up_since == before
        service.clock.sleep(600)
        monkeypatch.setattr(loop, "time", lambda: real() + 600)
        await janitor.tick()

    agent = service.agent()
    job = service.submit(poolId="default")
    agent.ack(*agent.poll())
    asyncio.run(run())
    assert service.runtime.up_since == service.clock.now()
    assert service.job(job)["status"] == "accepted"
    assert "stood still" in caplog.text


def test_outputs_are_dropped_after_the_days_of_the_setting(database):
    service = LiveService(database, output_retention_days=2)
    try:
        agent = service.agent()
        ids = [service.submit(agentId=agent.id) for _ in range(12)]
        for _ in ids:
            service.clock.sleep(2)
            (wire,) = agent.poll()
            agent.ack(wire)
            agent.report(result(wire, output={"stdout": "hello"}))
        service.clock.sleep(3 * 86_400)
        kept = lambda: [service.job(job_id)["result"]["outputKept"] for job_id in ids]  # noqa: E731 - a word of this test
        eventually(lambda: not any(kept()), what="the running server drops them, more than a piece")
        path = f"/api/v1/jobs/{ids[0]}/output"
        assert service.operator.get(path).json()["data"]["kept"] is False
        text = service.operator.get(path, params={"format": "text"}).text
        assert "no longer kept: EASYALERT_CP_OUTPUT_RETENTION_DAYS" in text
    finally:
        service.close()
