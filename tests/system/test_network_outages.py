"""Whatever is wrong on the way to the control plane: an accepted job runs, its result arrives once, soon after the end.

Meanwhile `easyalert-agent status` says what is wrong. A gateway between a real control plane and a real agent makes the
faults, for every request of the agent. The agent's clocks run faster, so that its patience ends sooner; its promise
of a minute is measured by them.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.clock import ClockControl
from chaos.preload import library
from easyalert.journal import Journal, NewJob, State
from easyalert.runtime import this_process
from tests.support.faults import Answer, Cut, Fault, Silent, Status, Trickle, too_many_requests
from tests.support.gateway import Gateway
from tests.support.stack import BIN, Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

BACK_WITHIN_S = 60.0
"""The promise, by the agent's clocks."""
WORK_S = 15.0
"""What the work may take besides, by the clocks of a busy machine: they count as many times more on the agent's."""
FAST = 40
BRISK = 4
"""The rate while the end of the fault is measured."""
PAGE = b"<!doctype html><title>Sign in</title><p>Welcome to the hotel's network."


class Site:
    """A control plane behind a gateway, an agent with clocks and a resolver of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.no_names = folder / "names-fail"
        self.clocks = ClockControl(folder)
        self.plane = ControlPlane(folder)
        self.gateway = Gateway(self.plane.port)
        created = self.plane.create_agent("one")
        self.agent_id = str(created.get("agentId") or created["id"])
        place = folder / "one"
        place.mkdir()
        environment = self.clocks.agents_environment()
        environment["LD_PRELOAD"] += f":{library('dnsshim')}"
        self.agent = Agent(
            place, self.gateway.url, created["apiKey"],
            HEARTBEAT_INTERVAL="5", DNSSHIM_FAILS=str(self.no_names), **environment,
        ).start()  # fmt: skip

    def submit(self, name: str, script: str = "") -> str:
        return self.plane.submit("script.bash", {"script": f"echo x >> {self.folder / name}\n{script}"})

    def effects(self, name: str) -> int:
        file = self.folder / name
        return len(file.read_text().split()) if file.exists() else 0

    def journal(self) -> Journal:
        return Journal(self.agent.state_dir / "journal.sqlite3")

    def state_of(self, job_id: str) -> State | None:
        with self.journal() as journal:
            found = journal.find(job_id)
        return found[0].state if found else None

    def status(self) -> dict[str, Any]:
        """What `easyalert-agent status` says."""
        done = subprocess.run(
            [str(BIN / "easyalert-agent"), "status", "--json"], env=self.agent.environment, cwd=self.agent.folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return dict(json.loads(done.stdout))

    def findings(self) -> str:
        status = self.status()
        return " | ".join(item["sentence"] for item in (*status["problems"], *status["hints"]))

    def seen(self) -> dict[str, Any]:
        return self.plane.agent(self.agent_id)

    def stop(self) -> None:
        self.clocks.rate(1)
        try:
            self.agent.stop()
        finally:
            self.gateway.close()
            self.plane.stop()
            self.plane.api.close()


@dataclass(frozen=True)
class Outage:
    """`says`: what the agent's status names."""

    name: str
    says: str
    begin: Callable[[Site], object]
    end: Callable[[Site], object] = lambda site: site.gateway.well()


def wrong(name: str, says: str, fault: Fault) -> Outage:
    return Outage(name, says, lambda site: site.gateway.always(fault))


OUTAGES = [
    wrong("trickle", "did not answer in full", Trickle(0.1)),
    wrong("silent", "does not answer", Silent()),
    wrong("garbage", "not JSON", Answer(b"\x00\xff\xfe{")),
    wrong("page", "not JSON", Answer(PAGE)),
    wrong("gateway-page", "HTTP 502", Status(502, {"Content-Type": "text/html"}, PAGE)),
    wrong("forbidden-page", "HTTP 403", Status(403, {"Content-Type": "text/html"}, PAGE)),
    wrong("not-found", "HTTP 404", Status(404)),
    wrong("too-many", "HTTP 429", too_many_requests(None)),
    wrong("too-many-for-a-day", "HTTP 429", too_many_requests("86400")),
    wrong("unavailable-for-a-day", "HTTP 503", Status(503, {"Retry-After": "86400"})),
    wrong("cut-before", "does not answer", Cut("before")),
    wrong("cut-in-headers", "does not answer", Cut("headers")),
    wrong("cut-in-body", "does not answer", Cut("body")),
    wrong("cut-after-work", "does not answer", Cut("headers", after_work=True)),
    Outage("refused", "does not answer", lambda s: s.gateway.close(), lambda s: s.gateway.open()),
    Outage("no-names", "does not answer", lambda s: s.no_names.touch(), lambda s: s.no_names.unlink()),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
def test_an_accepted_job_runs_and_its_result_arrives_once(site: Site, outage: Outage):
    name = outage.name
    go = site.folder / f"{name}-go"
    accepted = site.submit(name, f"while [ ! -e {go} ]; do sleep 0.05; done; echo kept")
    eventually(lambda: site.effects(name) == 1, within=60, what="the job runs")
    eventually(lambda: site.plane.job(accepted)["status"] in {"accepted", "running"}, within=60, what="it is permitted")
    site.clocks.rate(FAST)
    outage.begin(site)
    try:
        later = site.submit(f"{name}-later")
        go.touch()
        eventually(lambda: site.state_of(accepted) in {State.DONE, State.ACKED}, within=60, what="the job ends")
        eventually(lambda: outage.says in site.findings(), within=60, what=f"status says '{outage.says}'")
        # by now every part of the agent waits as long as it ever does
        waited_from = site.clocks.wall()
        eventually(lambda: site.clocks.wall() > waited_from + 120, within=60, what="two minutes of it")
    finally:
        site.clocks.rate(BRISK)
        outage.end(site)
    began = site.clocks.wall()
    job = site.plane.wait(accepted, timeout=90)
    took_s = site.clocks.wall() - began
    log.info("%s: the result arrived %.1f s after the end", name, took_s)
    site.clocks.rate(FAST)
    assert took_s <= BACK_WITHIN_S + BRISK * WORK_S
    assert (job["status"], job["attempt"], job["result"]["output"]["stdout"]) == ("success", 1, "kept\n")
    assert (site.plane.wait(later, timeout=90)["status"], site.effects(f"{name}-later")) == ("success", 1)
    assert site.effects(name) == 1
    eventually(lambda: site.findings() == "", within=60, what="status says that all is well")
    eventually(lambda: site.seen()["status"] == "online", within=60, what="the agent is online")
    site.clocks.rate(1)


@pytest.mark.parametrize("how", ["receipt", "422"])
def test_one_bad_result_among_good_ones_is_set_aside_alone(site: Site, how: str):
    """One for a job that the control plane does not know; one that a gateway refuses for good, batch by batch."""
    site.clocks.rate(BRISK)
    site.gateway.always(Status(503), "results")
    good = [site.submit(f"{how}-{number}") for number in range(12)]
    bad = f"unknown-{how}"
    with site.journal() as journal:
        journal.take([_known_to_nobody(bad)])
        assert journal.start(bad, this_process()) is not None
        envelope = {"status": "success", "output": None, "error": None, "exitCode": 0, "durationMs": 1}
        assert journal.finish(bad, {"jobId": bad, **envelope})
    if how == "422":
        site.gateway.refuse = lambda endpoint, body: (
            Status(422) if endpoint == "results" and bad.encode() in body else None
        )
    eventually(lambda: all(site.state_of(job) is State.DONE for job in good), within=60, what="all results wait")
    eventually(lambda: "HTTP 503" in site.findings(), within=60, what="status says why")
    eventually(
        lambda: site.seen()["status"] == "degraded", within=60, what="the heartbeat says that something is wrong"
    )
    site.gateway.well()
    began = time.monotonic()
    for job in good:
        assert site.plane.wait(job, timeout=60)["status"] == "success"
    assert time.monotonic() - began < BACK_WITHIN_S
    eventually(lambda: site.state_of(bad) is State.REJECTED, within=60, what="the bad one is set aside")
    eventually(lambda: "refused by the control plane" in site.findings(), within=60, what="and people are told")
    with site.journal() as journal:
        assert journal.figures().undelivered == 0


def _known_to_nobody(job_id: str) -> NewJob:
    return NewJob(
        job_id=job_id, attempt=1, action="script.bash", connection_id=None, sealed=b"", timeout_s=60, idempotent=None,
        needs_ack=False, lease_s=None, start_within_s=900.0,
    )  # fmt: skip
