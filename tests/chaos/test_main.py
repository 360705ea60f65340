from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.run import new_folder
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


def test_wrong_options_are_refused():
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--agents", "9"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--agents" in done.stderr


def test_unix_sockets_fit_below_the_folder_of_a_run():
    folder = new_folder()
    folder.rmdir()
    assert len(str(folder / "three" / "state" / "run" / "supervisor.sock")) < 100


@pytest.mark.system
def test_a_run_that_is_stopped_ends_what_it_has_started_and_says_its_seed_first(tmp_path):
    said = tmp_path / "said"
    with said.open("w") as file:
        run = subprocess.Popen([sys.executable, "-m", "chaos", "--seed", "5"], cwd=ROOT, stderr=file)
    eventually(lambda: "submitted" in said.read_text(), within=120, what="the first word of progress")
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert children
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 1
    assert said.read_text().startswith("chaos: seed 5, 5 minutes, 1200 jobs, 2 agents\n")
    assert "Traceback" not in said.read_text()
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
