"""What comes out of every kind there is, whatever its target says and however its jobs end.

The kinds are those of the registry; the targets are those of their canary cases, which say back all they are told. Here
they have more to say than is kept, with bytes that are no text.
"""

import json
import os
import re
import time

import pytest

from easyalert.netguard.judge import NetworkPolicy
from easyalert.protocol.limits import ERROR_MAX_CHARS, OUTPUT_STREAM_MAX_CHARS
from tests.canaries.case import case_of
from tests.canaries.secrets import Canaries
from workers.registry import Registry
from workers.sdk.executor import OwnersActions
from workers.sdk.harness import Harness

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
KINDS = Registry(foreign={}).kinds()
LINE = b"a line of what is said, \xff\xfe\xed\xa0\x80 and NaN\n"
HOSTILE = LINE * (1_500_000 // len(LINE))
GAP = re.compile(r"\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n")


class Said(Canaries):
    """What a canary case asks for; its file holds what is hostile instead of secrets."""

    def __init__(self, folder):
        super().__init__()
        self.forms = folder / "forms"
        self.forms.write_bytes(HOSTILE)

    def sent(self, label):
        return self.plain(label)


class Bench:
    """Runs jobs of a case as a worker would."""

    def __init__(self, kind, said, tmp_path):
        self.made = type(Registry(foreign={}).executor(kind))
        self.said, self.tmp_path = said, tmp_path

    def run(self, job, *, timeout_s=60, cancelled=lambda: False):
        executor = (
            self.made(self.said.forms.with_name("actions")) if issubclass(self.made, OwnersActions) else self.made()
        )
        (self.tmp_path / "jobs").mkdir(exist_ok=True)
        harness = Harness(
            executor, self.tmp_path / "jobs", credential=job.credential, cancelled=cancelled,
            network_policy=NetworkPolicy(allow_private=True),
        )  # fmt: skip
        return harness.run(job.action.partition(".")[2], job.params, timeout_s=timeout_s)


@pytest.fixture
def bench(request, tmp_path, monkeypatch):
    """With the case of its kind."""
    kind = request.param
    said = Said(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")  # as the flight has it
    with case_of(kind)(said) as case:
        made = Bench(kind, said, tmp_path)
        made.case = case
        yield made


def check(recorded):
    """What is promised of every result."""
    text = json.dumps(recorded, allow_nan=False, ensure_ascii=False)
    text.encode()  # no lone surrogates
    error = recorded["error"] or ""
    assert len(error) <= ERROR_MAX_CHARS
    assert "Traceback" not in text
    assert "unexpected" not in error, recorded
    assert recorded["status"] == "success" or error, recorded
    output = recorded["output"]
    if isinstance(output, dict) and "stdout" in output:
        for name in ("stdout", "stderr"):
            check_stream(output, name)


def check_stream(output, name):
    """Head and tail, the size that it had, and how much is left out, to the byte."""
    said = output[name]
    gap = GAP.search(said)
    if gap is None or "truncated" not in output:  # the outputs of os do not have it (contract 2.3)
        return
    assert output["truncated"] is True
    kept = len(said.encode()) - len(gap[0]) - 2 * said.count("\ufffd")  # each stands for one byte
    assert kept + int(gap[1]) == output[f"original{name.title()}Size"]
    assert kept <= OUTPUT_STREAM_MAX_CHARS
    assert gap.start() > 0
    assert gap.end() < len(said)


def talks(kind):
    """Whether its canary case has the file said back."""
    return kind in {"script", "os"}


@pytest.mark.parametrize("bench", KINDS, indirect=True)
def test_whatever_the_target_says_the_result_can_be_sent(bench, request):
    kind = request.node.callspec.params["bench"]
    results = []
    for job in bench.case.jobs:
        ran = bench.run(job)
        check(ran.recorded)
        results.append(ran.recorded)
    if talks(kind):
        assert any("bytes left out" in json.dumps(recorded) for recorded in results), "nothing hostile was said"


@pytest.mark.parametrize("bench", KINDS, indirect=True)
def test_the_jobs_limit_ends_it_and_what_it_has_is_kept(bench):
    case = bench.case
    if case.hanging is None:  # has no target of its own
        return
    before, reached = case.holds(), []

    def look():
        reached.append(case.holds() > before)
        return False

    for limit in (4, 12, 25):  # on a machine that is too busy to reach the target in time, once more
        ran = bench.run(case.hanging, timeout_s=limit, cancelled=look)
        check(ran.recorded)
        assert (ran.result.outcome, ran.recorded["exitCode"]) == ("timed_out", -1), ran.recorded
        assert f"{limit} seconds" in ran.error
        if any(reached):
            break
    assert any(reached), "it never reached its target"


@pytest.mark.parametrize("bench", KINDS, indirect=True)
def test_cancelled_it_says_what_may_have_happened(bench):
    case = bench.case
    if case.hanging is None:  # has no target of its own
        return
    before = case.holds()
    began = time.monotonic()
    ran = bench.run(case.hanging, cancelled=lambda: case.holds() > before)
    check(ran.recorded)
    assert (ran.result.outcome, ran.recorded["exitCode"]) == ("cancelled", -1), ran.recorded
    assert "cancelled" in ran.error
    assert time.monotonic() - began < 50, "it would take the job's limit"
