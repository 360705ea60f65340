from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from easyalert import wakeup
from easyalert.hardening import become_subreaper
from easyalert.runtime import this_process
from easyalert.spellings import spellings
from easyalert.spool import JobOfSpool, Place, SpoolReader, shown_spools
from workers.executors.script import Script
from workers.live import LiveOutput
from workers.processes import run_process
from workers.sdk.harness import SECRET, Harness


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def poller():
    """The poller's end of the wake-up socket; `taps(poller)` are the words it got."""
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as folder:
        path = Path(folder) / "p.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(os.fspath(path))
            listening.setblocking(False)
            yield listening


def taps(poller):
    words = []
    while True:
        try:
            words.append(poller.recv(16))
        except BlockingIOError:
            return words


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def live(tmp_path, poller, clock):
    job = JobOfSpool("job_1", 1, this_process())
    found = LiveOutput(tmp_path / "output", "k", job, Path(poller.getsockname()), clock=clock)
    yield found
    found.close()


def printed(tmp_path, key="k"):
    frames, _ = SpoolReader(tmp_path / "output" / key).read(Place(), 10_000_000)
    return [(f.stream, f.data) for f in frames if f.stream]


def test_the_first_output_is_told_after_a_moment_and_the_rest_a_few_times_a_second(live, poller, clock, tmp_path):
    assert live.wait() is None
    live.feed("stdout", b"one\n")
    assert 0 < live.wait() <= 0.06
    live.tick()
    assert taps(poller) == []
    clock.at += 0.06
    live.tick()
    assert taps(poller) == [wakeup.OUTPUT]
    assert printed(tmp_path) == [("stdout", b"one\n")]
    for _ in range(100):
        clock.at += 0.01
        live.feed("stderr", b"more\n")
    assert 8 <= len(taps(poller)) <= 11
    clock.at += 0.2
    live.tick()
    assert live.wait() is None
    live.close()
    assert taps(poller)[-1] == wakeup.OUTPUT


def test_a_job_that_ends_at_once_bothers_nobody(live, poller, tmp_path):
    live.feed("stdout", b"one\n")
    live.close()
    assert taps(poller) == []
    assert list((tmp_path / "output").iterdir()) == []


def test_nothing_to_say_is_no_output(live, poller, tmp_path):
    live.feed("stdout", b"")
    assert live.wait() is None
    live.close()
    assert not (tmp_path / "output").exists()


def test_no_poller_is_no_reason_to_fail(tmp_path, clock):
    live = LiveOutput(tmp_path, "k", JobOfSpool("job_1", 1, this_process()), tmp_path / "nobody.sock", clock=clock)
    live.feed("stdout", b"x")
    clock.at += 1
    live.tick()
    live.close()
    assert shown_spools(tmp_path) == ["k"]


@pytest.mark.system
def test_a_program_is_followed_while_it_runs_and_a_split_secret_is_never_in_the_spool(tmp_path, poller):
    """The line shows while the program waits for a file that is made only then; the secret comes in two writes."""
    become_subreaper()
    ctx = Harness(Script(), tmp_path, credential={"password": SECRET}).context("bash", {}, timeout_s=20)
    ctx.credential()
    job = JobOfSpool("job_1", 1, this_process())
    folder = tmp_path / "output"
    ctx.live = live = LiveOutput(folder, "k", job, Path(poller.getsockname()))
    real, seen = live.tick, []

    def tick():
        real()
        if not seen and shown_spools(folder):
            seen.extend(printed(tmp_path))
            (tmp_path / "go").touch()

    live.tick = tick
    first, second = SECRET[:4], SECRET[4:]
    script = (
        f"echo first; until [ -e {tmp_path}/go ]; do sleep 0.02; done; "
        f"printf %s 'a {first}'; sleep 0.2; echo '{second} b'; echo late >&2"
    )
    end = run_process(ctx, ["bash", "-c", script], env={"PATH": os.environ["PATH"]})
    assert seen == [("stdout", b"first\n")]
    assert end.stdout.text() == "first\na [REDACTED] b\n"
    assert b"".join(data for stream, data in printed(tmp_path) if stream == "stdout") == b"first\na [REDACTED] b\n"
    raw = b"".join(file.read_bytes() for file in (folder / "k").iterdir())
    assert second.encode() not in raw
    live.close()


HALVES = """
import os, sys, time
for form in map(bytes.fromhex, sys.argv[1:]):
    for part in (b"<" + form[: len(form) // 2], form[len(form) // 2 :] + b">"):
        os.write(1, part)
        time.sleep(0.005)
"""


@pytest.mark.system
def test_every_spelling_of_a_secret_in_two_writes_is_neither_live_nor_in_the_result(tmp_path, poller):
    become_subreaper()
    secret = "p@ss w0rd/ü+'\"&"
    ctx = Harness(Script(), tmp_path, credential={"password": secret}).context("bash", {}, timeout_s=60)
    ctx.credential()
    ctx.live = live = LiveOutput(
        tmp_path / "output", "k", JobOfSpool("job_1", 1, this_process()), Path(poller.getsockname())
    )
    forms = sorted(spellings(secret))
    arguments = ["-I", "-c", HALVES, *(form.hex() for form in forms)]
    end = run_process(ctx, [sys.executable, *arguments], env={"PATH": os.environ["PATH"]})
    live.close()
    spooled = b"".join(data for _, data in printed(tmp_path))
    assert spooled.count(b"[REDACTED]") == end.stdout.text().count("[REDACTED]") == ctx.redactor.count >= len(forms)
    for clean in (spooled, end.stdout.text().encode()):
        assert not [form for form in forms if form in clean.replace(b"[REDACTED]", b"\0")]
