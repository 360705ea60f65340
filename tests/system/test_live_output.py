"""What running jobs print, seen on the control plane: at once, whole, over every cut; on a real control plane and agent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.stack import Stack, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SLOWLY = """for i in $(seq 1 {lines}); do echo "line $i"; echo "err $i" >&2; sleep 0.05; done"""
"""Prints for 50 ms a line, and ends by itself."""


@pytest.fixture(scope="module")
def stack():
    with running_stack() as running:
        yield running


def view(stack: Stack, job_id: str) -> dict[str, Any]:
    return dict(stack.control_plane.api.get(f"/jobs/{job_id}/output").json()["data"])


def text(stack: Stack, job_id: str, stream: str) -> str:
    query = {"format": "text", "stream": stream}
    return stack.control_plane.api.get(f"/jobs/{job_id}/output", params=query).text


def complete(stack: Stack, job_id: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        data = view(stack, job_id)
        return data if data["complete"] else None

    return dict(eventually(found, within=60, what="all of the output"))


def lines(word: str, count: int) -> str:
    return "".join(f"{word} {number}\n" for number in range(1, count + 1))


def running(stack: Stack, script: str) -> str:
    """A job that has printed something."""
    job_id = stack.control_plane.submit("script.bash", {"script": script})
    eventually(lambda: view(stack, job_id)["chunks"], within=60, what="its first output")
    return job_id


class Follower:
    """Reads the events of a job, and comes back after every cut as a browser does."""

    def __init__(self, stack: Stack, job_id: str) -> None:
        self._stack = stack
        self._path = f"/jobs/{job_id}/output"
        self.last: str | None = None
        self.text = {"stdout": "", "stderr": ""}
        self.end: dict[str, Any] | None = None

    def read(self, *, until: str | None = None) -> None:
        """To the end of the answer, or until stdout holds this."""
        headers = {"Last-Event-ID": self.last} if self.last else {}
        api = self._stack.control_plane.api
        with api.stream("GET", self._path, params={"follow": "true"}, headers=headers) as answer:
            kind = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    self.last = value
                elif name == "data":
                    self._take(kind, json.loads(value))
                if until is not None and until in self.text["stdout"]:
                    return

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        assert kind != "truncated", data
        if kind == "chunk":
            self.text[data["stream"]] += data["text"]
        elif kind == "end":
            self.end = data


def test_the_first_line_is_seen_while_the_job_still_runs(stack: Stack, tmp_path: Path):
    go = tmp_path / "go"
    # ends with what begins no secret: of the agent's own, which are random, a first letter would be held back
    script = f"echo first.; for i in $(seq 600); do [ -e {go} ] && exit; sleep 0.05; done"
    job_id = stack.control_plane.submit("script.bash", {"script": script})
    follower = Follower(stack, job_id)
    follower.read(until="first.\n")
    assert stack.control_plane.job(job_id)["status"] not in {"success", "error"}
    go.touch()
    assert stack.control_plane.wait(job_id)["status"] == "success"
    follower.read()
    assert follower.end is not None
    assert (follower.end["complete"], follower.end["stdoutBytes"]) == (True, 7)


def test_the_agents_own_people_can_follow_too(stack: Stack):
    import subprocess

    from tests.support.stack import BIN

    job_id = running(stack, SLOWLY.format(lines=20))
    done = subprocess.run(
        [str(BIN / "easyalert-agent"), "jobs", "tail", job_id],
        env=stack.agent.environment, capture_output=True, text=True, check=False, timeout=30, cwd=stack.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == lines("line", 20)
    assert lines("err", 20) in done.stderr


def test_a_secret_written_in_two_parts_is_nowhere_on_the_way(stack: Stack):
    secret = "s3cret-canary-5520"
    plane = stack.control_plane
    key = stack.agent.environment["AGENT_API_KEY"]
    script = f"printf 'key {key[:20]}'; sleep 0.3; echo '{key[20:]} end'; printf x; sleep 0.5"
    job_id = running(stack, script)
    spools = [file.read_bytes() for file in (stack.agent.state_dir / "output").rglob("*") if file.is_file()]
    plane.wait(job_id)
    complete(stack, job_id)
    assert text(stack, job_id, "stdout") == "key [REDACTED] end\nx"
    # parameters name it here, so only what goes the other way is looked at
    assert all(key[20:].encode() not in content for content in spools)
    assert secret not in str(view(stack, job_id))


@pytest.mark.parametrize("cut", ["poller", "control plane", "control plane -9"])
def test_nothing_is_lost_or_doubled_over_a_cut(cut):
    with running_stack() as stack:
        plane, count = stack.control_plane, 100
        job_id = running(stack, SLOWLY.format(lines=count))
        follower = Follower(stack, job_id)
        follower.read(until="line 3\n")
        if cut == "poller":
            stack.agent.kill("poller")
        else:
            plane.stop(signal.SIGKILL if cut.endswith("-9") else signal.SIGTERM)
            time.sleep(0.5)  # it goes on printing meanwhile
            plane.start()
        plane.wait(job_id, 60)
        end = complete(stack, job_id)
        assert text(stack, job_id, "stdout") == lines("line", count)
        assert text(stack, job_id, "stderr") == lines("err", count)
        assert (end["truncated"], end["stdoutBytes"]) == (False, len(lines("line", count)))
        while follower.end is None:
            with contextlib.suppress(httpx.HTTPError):
                follower.read()
        assert follower.text == {"stdout": lines("line", count), "stderr": lines("err", count)}
        eventually(lambda: not list((stack.agent.state_dir / "output").iterdir()), what="the spool gone")


def test_what_was_printed_before_the_worker_was_killed_is_there(stack: Stack):
    job_id = running(stack, "echo before; sleep 60")
    worker = eventually(lambda: owner_of(stack, job_id), what="the job's worker")
    os.kill(worker, signal.SIGKILL)
    job = stack.control_plane.wait(job_id)
    assert job["status"] == "in_doubt"
    end = complete(stack, job_id)
    assert (text(stack, job_id, "stdout"), end["stdoutBytes"]) == ("before\n", 7)


def owner_of(stack: Stack, job_id: str) -> int | None:
    from easyalert.journal import Journal

    with Journal(stack.agent.state_dir / "journal.sqlite3") as journal:
        rows = [row for row in journal.find(job_id) if row.owner is not None]
    return rows[0].owner.pid if rows else None


@pytest.mark.alone
def test_a_fast_printer_costs_no_memory(stack: Stack):
    """80 MB: beginning and end are kept, the exact size is told, and the agent grows by much less meanwhile."""
    size = 80_000_000
    stack.control_plane.wait(stack.control_plane.submit("script.bash", {"script": "true"}))
    idle = memory(stack)
    job_id = stack.control_plane.submit("script.bash", {"script": f"yes 0123456789abcde | head -c {size}"})
    peak = 0
    while stack.control_plane.job(job_id)["status"] not in {"success", "error"}:
        peak = max(peak, memory(stack))
        time.sleep(0.1)
    end = complete(stack, job_id)
    assert (end["stdoutBytes"], end["truncated"]) == (size, True)
    kept = [chunk for chunk in end["chunks"] if chunk["type"] == "chunk"]
    assert (
        sum(len(chunk["text"]) for chunk in kept)
        + sum(chunk["missingBytes"] for chunk in end["chunks"] if chunk["type"] == "truncated")
        == size
    )
    assert kept[0]["offset"] == 0
    assert kept[-1]["text"].endswith("0123456789abcde\n")
    assert sum(len(chunk["text"]) for chunk in kept) < 3_000_000
    assert peak - idle < 40_000_000, f"the agent grew from {idle // 1_000_000} to {peak // 1_000_000} MB"


def memory(stack: Stack) -> int:
    """Bytes of the agent's programs, what they share counted once (proportional set size); jobs' programs are not its."""
    assert stack.agent.process is not None
    total = 0
    for process in [psutil.Process(stack.agent.process.pid), *psutil.Process(stack.agent.process.pid).children(True)]:
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() not in {"bash", "yes", "head"}:
                total += process.memory_full_info().pss
    return total
