"""The control plane is away for four hours, while 500 jobs have finished on an agent: all clocks run 240 times faster.

Every result is recorded once, within a minute of its return, with the time at which the job really finished.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from pathlib import Path

import pytest

from chaos.clock import ClockControl
from easyalert.journal import Journal, State
from tests.support.faults import Status
from tests.support.gateway import Gateway
from tests.support.stack import Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

log = logging.getLogger(__name__)

JOBS = 500
RATE = 240
REAL_S = 60.0
BACK_WITHIN_S = 60.0
"""The promise. The longest pause between two questions is 45 s."""
WORK_S = 60.0
"""What 500 results may take besides on a busy machine."""


class Site:
    """A control plane and an agent by the same clocks, and a gateway between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clocks = ClockControl(folder)
        self.plane = ControlPlane(folder, EASYALERT_CP_LOG_LEVEL="WARNING", **self.clocks.environment())
        self.gateway = Gateway(self.plane.port)
        created = self.plane.create_agent("one")
        place = folder / "one"
        place.mkdir()
        self.agent = Agent(
            place, self.gateway.url, created["apiKey"],
            MAX_CONCURRENT_JOBS="20", HEARTBEAT_INTERVAL="30", **self.clocks.agents_environment(),
        ).start()  # fmt: skip

    def journal(self) -> Journal:
        return Journal(self.agent.state_dir / "journal.sqlite3")

    def undelivered(self) -> int:
        with self.journal() as journal:
            return journal.figures().undelivered

    def stop(self) -> None:
        try:
            self.agent.stop()
        finally:
            self.gateway.close()
            self.plane.stop()
            self.plane.api.close()


def test_500_results_survive_four_hours_without_the_control_plane(site: Site):
    effects = site.folder / "effects"
    # the jobs are taken, permitted and run; only the way of their results is cut
    site.gateway.always(Status(503), "results")
    ids = [site.plane.submit("script.bash", {"script": f"echo x >> {effects}"}) for _ in range(JOBS)]
    eventually(lambda: site.undelivered() == JOBS, within=200, what="all jobs have run, no result is delivered")
    with site.journal() as journal:
        finished = {row.job_id: row.finished_at for row in journal.unreported(JOBS + 1)}
    assert set(finished) == set(ids)

    site.gateway.close()
    site.plane.stop()
    gone_at = site.clocks.wall()
    site.clocks.rate(RATE)
    end = time.monotonic() + REAL_S
    eventually(lambda: time.monotonic() >= end, within=REAL_S + 30, what="four hours")
    site.clocks.rate(1)
    away_s = site.clocks.wall() - gone_at
    assert away_s >= 4 * 3600
    assert site.undelivered() == JOBS, "nothing expired from the outbox"

    site.plane.start()
    site.gateway.well()
    site.gateway.open()
    back_at = time.monotonic()
    eventually(lambda: site.undelivered() == 0, within=BACK_WITHIN_S + WORK_S, what="every result is answered for")
    took_s = time.monotonic() - back_at
    log.info("away for %.2f h; %d results delivered %.1f s after the return", away_s / 3600, JOBS, took_s)

    jobs = {job_id: site.plane.job(job_id) for job_id in ids}
    assert Counter(job["status"] for job in jobs.values()) == {"success": JOBS}
    assert {job["attempt"] for job in jobs.values()} == {1}
    assert len(effects.read_text().split()) == JOBS, "each has run once"
    with site.journal() as journal:
        rows = {row.job_id: row for row in journal.latest(JOBS + 1)}
        assert {row.state for row in rows.values()} == {State.ACKED}
        assert {job_id: row.finished_at for job_id, row in rows.items()} == finished, "the first times are kept"
        assert journal.figures().executed == JOBS
    for job_id, job in jobs.items():
        at = {step["step"]: _epoch(step["at"]) for step in job["timings"]}
        assert abs(at["finished"] - finished[job_id]) < 5, "people see when it finished, not when it was heard of"
        assert at["received"] - at["finished"] >= 4 * 3600


def _epoch(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
