from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from easyalert import crashpoints
from easyalert.crashpoints import POINTS, armed
from easyalert.runtime import OUR_PACKAGES

ROOT = Path(crashpoints.__file__).parents[1]


@pytest.fixture
def deaths(monkeypatch):
    died = []
    monkeypatch.setattr(crashpoints, "_die", lambda: died.append(True))
    return died


def test_a_process_dies_by_sigkill_at_its_point():
    code = "from easyalert.crashpoints import reached; reached('done'); print('there', flush=True); reached('fenced')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={crashpoints.VARIABLE: "fenced"}, cwd=ROOT, capture_output=True, check=False
    )
    assert done.stdout == b"there\n"
    assert done.returncode == -signal.SIGKILL


def test_the_nth_time(deaths):
    reached = armed("fenced:3")
    for number, dead in ((1, 0), (2, 0), (3, 1), (4, 1)):
        reached("fenced")
        reached("over")
        assert len(deaths) == dead, number


def test_a_file_counts_over_processes_and_lets_one_die_once(deaths, tmp_path):
    file = tmp_path / "crash-at"
    one, other = armed(str(file)), armed(str(file))
    one("fenced")
    assert not deaths, "no file yet"
    file.write_text("fenced:2")
    one("over")
    one("fenced")
    assert not deaths
    other("fenced")
    assert len(deaths) == 1
    assert file.read_text() == ""
    one("fenced")
    assert len(deaths) == 1


@pytest.mark.parametrize("value", [None, "", "fenced"])
def test_without_the_variable_or_without_the_tests_nothing_ever_happens(deaths, tmp_path, value):
    reached = armed(value, tests=tmp_path / "absent.py")
    reached("fenced")
    assert not deaths
    assert reached is armed(None), "not even a comparison"


def test_it_is_no_setting(tmp_path):
    (tmp_path / ".env").write_text(f"{crashpoints.VARIABLE}=fenced\n")
    code = "from easyalert.crashpoints import reached; reached('fenced')"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_every_point_stands_in_the_code_and_no_other():
    found = [
        name
        for package in OUR_PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"crashpoints\.reached\(\"([a-z-]+)\"\)", path.read_text("utf-8"))
    ]
    assert sorted(found) == sorted(POINTS)
