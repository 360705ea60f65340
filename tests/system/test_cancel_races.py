"""200 short jobs and requests to cancel at random moments around their ends: each comes out as exactly one of the two."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from easyalert.journal import Journal, State
from tests.support.stack import running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

JOBS = 200
SEED = 20_261_125
AT_ONCE = 5


def test_each_is_exactly_one_of_the_two_and_all_books_agree(tmp_path):
    rng = random.Random(SEED)
    begun, done = tmp_path / "begun", tmp_path / "done"
    with running_stack(MAX_CONCURRENT_JOBS=str(AT_ONCE), CANCEL_GRACE_SECONDS="2") as stack:
        plane = stack.control_plane
        eventually(lambda: plane.agent(stack.agent_id)["status"] == "online", within=60)

        def one(number: int, length: float, moment: float) -> str:
            script = f"echo {number} >> {begun}; sleep {length:.3f}; echo {number} >> {done}"
            job_id = plane.submit("script.bash", {"script": script})
            time.sleep(moment)  # what is tried is the moment itself
            assert plane.api.post(f"/jobs/{job_id}/cancel").status_code in {200, 202, 409}
            return job_id

        with ThreadPoolExecutor(AT_ONCE) as threads:
            lengths = [rng.uniform(0.0, 0.1) for _ in range(JOBS)]
            # a job's way to the agent and back is about 0.1 s: from long before its start to well after its end
            moments = [max(0.0, length + rng.uniform(-0.1, 0.25)) for length in lengths]
            ids = list(threads.map(one, range(JOBS), lengths, moments))
        jobs = [plane.wait(job_id, timeout=60) for job_id in ids]
        with Journal(stack.agent.state_dir / "journal.sqlite3") as journal:
            eventually(lambda: journal.figures().undelivered == 0, what="an empty outbox")
            rows = {row.job_id: row for row in journal.latest(2 * JOBS)}
    effects, starts = _count(done), _count(begun)
    outcomes = Counter(job["status"] for job in jobs)
    log.info("seed %d: %s", SEED, dict(outcomes))
    assert outcomes.keys() == {"success", "cancelled"}, outcomes
    for number, (job_id, job) in enumerate(zip(ids, jobs, strict=True)):
        row = rows.get(job_id)
        assert starts[number] <= 1
        assert effects[number] <= 1
        if job["status"] == "success":
            assert effects[number] == 1
            assert row is not None
            assert row.result is not None
            assert row.result["status"] == "success"
            assert row.outcome == "finished"
        else:
            assert job["cancelRequested"]["by"]
            # nothing reached the agent, or its books say the same
            assert row is None or row.outcome == "cancelled"
        if row is not None:
            assert row.state is State.ACKED


def _count(file: Path) -> Counter[int]:
    return Counter(map(int, file.read_text().split()))
