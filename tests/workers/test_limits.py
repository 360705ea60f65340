"""Limits of scripts, each hit by a real script that is bounded by construction: what it takes is a few MB or a second."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from easyalert.cgroups import find_place
from workers.executors.script import Script
from workers.limits import CPU_GRACE_S, Limits
from workers.sdk.harness import Harness

SPIN = "import time\nuntil = time.monotonic() + 20\nwhile time.monotonic() < until: pass"


def run(tmp_path, limits, action, script):
    return Harness(Script(), tmp_path, limits=limits).run(action, {"script": script}).recorded


def test_without_limits_a_script_has_those_of_the_agent(tmp_path):
    found = run(tmp_path, Limits(), "bash", "ulimit -t; ulimit -d; ulimit -Hn; cat /proc/self/oom_score_adj")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert found["output"]["stdout"] == f"unlimited\nunlimited\n{most}\n1000\n"


def test_limits_are_set_before_the_script_begins_and_cannot_be_raised(tmp_path):
    limits = Limits(cpu_s=7, memory_mb=300, open_files=40)
    script = "ulimit -St; ulimit -Ht; ulimit -d; ulimit -Sn; ulimit -Hn"
    found = run(tmp_path, limits, "bash", script)
    assert found["output"]["stdout"].split() == ["7", str(7 + CPU_GRACE_S), str(300 * 1024), "40", "40"]


def test_a_soft_limit_of_files_that_is_lower_stays(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        found = run(tmp_path, Limits(open_files=400), "bash", "ulimit -Sn; ulimit -Hn")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found["output"]["stdout"].split() == ["300", "400"]


@pytest.mark.parametrize(("action", "script"), [("python", SPIN), ("bash", f"python3 -c '{SPIN}'; exit $?")])
def test_too_much_cpu_time(tmp_path, action, script):
    found = run(tmp_path, Limits(cpu_s=1), action, script)
    assert found["status"] == "error"
    assert "(1 seconds)" in found["error"]
    assert "SCRIPT_MAX_CPU_SECONDS" in found["error"]


def test_the_kernels_last_word_on_cpu_time_is_understood():
    limits = Limits(cpu_s=10)
    assert "SCRIPT_MAX_CPU_SECONDS" in (limits.hit(-9, 15.1, "", out_of_memory=False) or "")
    assert limits.hit(-9, 3.0, "", out_of_memory=False) is None, "somebody else has killed it"
    assert Limits().hit(-24, 3.0, "", out_of_memory=False) is None


def test_too_many_open_files(tmp_path):
    found = run(tmp_path, Limits(open_files=50), "python", "kept = [open('/dev/null') for _ in range(100)]")
    assert found["exitCode"] == 1
    assert "Too many open files" in found["error"]
    assert found["error"].endswith("this agent allows a process 50 open files; SCRIPT_MAX_OPEN_FILES changes that")


def test_too_much_memory_of_one_process(tmp_path):
    found = run(tmp_path, Limits(memory_mb=100), "python", "b = bytearray(150 << 20)")
    assert found["exitCode"] == 1
    assert "MemoryError" in found["error"]
    assert "this agent allows a script 100 MB of memory; SCRIPT_MAX_MEMORY_MB" in found["error"]


def test_reserving_addresses_is_no_use_of_memory(tmp_path):
    script = "import mmap\nm = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)\nprint('ok')"
    assert run(tmp_path, Limits(memory_mb=100), "python", script)["output"]["stdout"] == "ok\n"


WORKER = """
import json, sys
from pathlib import Path
from easyalert.hardening import become_subreaper
from workers.confinement import find_confinement
from workers.executors.script import Script
from workers.limits import Limits
from workers.sdk.harness import Harness
become_subreaper()
made = find_confinement("test-of-memory", 50, 60)
made.enter()
harness = Harness(Script(), Path(sys.argv[1]), limits=Limits(memory_mb=60))
errors = [harness.run("bash", {"script": script}).recorded["error"] for script in sys.argv[2:]]
limited = made.limits_memory
made.end()
made.leave()
print(json.dumps([limited, made.sentence, errors]))
"""
"""A worker of its own, because what it already has counts."""


@pytest.mark.system
def test_too_much_memory_of_a_job_in_its_control_group(tmp_path):
    """Several processes, each within the limit, are not within it together."""
    place = find_place()
    hog = "import time; b = bytearray(40 << 20); time.sleep(15)"
    script = f'for i in 1 2 3 4 5 6 7; do python3 -c "{hog}" & all="$all $!"; done; for p in $all; do wait $p || exit 9; done'
    if place is None or place.memory is None:
        script = "exit 3"  # no such groups here: each process has its limit, see above
    command = [sys.executable, "-c", WORKER, str(tmp_path), script, "exit 3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    limited, sentence, (first, second) = json.loads(done.stdout)
    assert second == "bash: exit code 3, nothing on stderr", "the worker lives, and its next job is not blamed"
    if place is None or place.memory is None:
        assert not limited
        return
    assert limited
    assert "60 MB of memory" in sentence
    assert "more memory than this agent allows a job (60 MB)" in first
    assert "SCRIPT_MAX_MEMORY_MB" in first
    assert not list(place.memory.glob("easyalert-test-of-memory-*")), "nothing is left of it"
