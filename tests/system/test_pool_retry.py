"""A job that may be repeated and kills the workers of one agent: the same agent first, then another of the pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stack import running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SCRIPT = """echo x >> {record}
if [ "$(wc -l < {record})" -le 3 ]; then kill -9 $PPID; sleep 60; fi
echo done"""


@pytest.mark.parametrize("idempotent", [True, False])
def test_three_deaths_on_one_agent_then_another_one(idempotent: bool, tmp_path: Path):
    record = tmp_path / "effects"
    with running_stack(SCRIPT_ISOLATION="none") as stack:  # its scripts kill their worker
        plane = stack.control_plane
        stack.add_agent("two", SCRIPT_ISOLATION="none")
        eventually(
            lambda: [a["status"] for a in plane.api.get("/agents").json()["data"]] == ["online"] * 2,
            within=60, what="two agents",
        )  # fmt: skip
        job = plane.wait(
            plane.submit("script.bash", {"script": SCRIPT.format(record=record)}, idempotent=idempotent), timeout=60
        )
        agents = [attempt["agentName"] for attempt in job["attempts"]]
        effects = len(record.read_text().split())
        if idempotent:
            assert (job["status"], effects) == ("success", 4), job
            assert len(set(agents)) == len(agents) == 2
            assert [attempt["end"] for attempt in job["attempts"]] == ["error", "success"]
            assert job["attempts"][0]["result"]["error"].startswith("poison")
            actions = [row["action"] for row in plane.api.get("/audit", params={"target": job["id"]}).json()["data"]]
            assert actions == ["job.run_again", "job.idempotence_set"]
        else:
            assert (job["status"], effects, len(agents)) == ("in_doubt", 1, 1), job
