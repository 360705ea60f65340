from __future__ import annotations

import shutil

import pytest

from tests.scripts.conftest import ROOT

ALONE = "pytest -m alone tests/slow/test_memory.py"


@pytest.fixture
def tree(tmp_path, host):
    """Two files of tests, and stand-ins for what prepares and runs them; pytest fails where the file `fails` says so."""
    folder = tmp_path / "tree"
    for place in ("scripts", ".venv/bin", "tests/slow"):
        (folder / place).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "test", folder / "scripts")
    (folder / "tests" / "services.txt").touch()
    (folder / "tests" / "test_quick.py").write_text("# nothing is marked here\n")
    (folder / "tests" / "slow" / "test_memory.py").write_text("pytestmark = [pytest.mark.alone]\n")
    host.program("setup")
    host.program("python", 'shift; echo "$*" >>ran; ! grep -qxF -e "$*" fails 2>/dev/null')
    (folder / "scripts" / "setup").symlink_to(host.bin / "setup")
    (folder / ".venv" / "bin" / "python").symlink_to(host.bin / "python")
    return folder


@pytest.fixture
def runs(tree, host):
    """Run it; its exit code, and the arguments of each Python it ran."""

    def run(*arguments, **environment):
        done = host.run("scripts/test", *arguments, cwd=tree, **environment)
        return done.returncode, (tree / "ran").read_text().splitlines()

    return run


def test_one_process_runs_all_in_one_go(runs):
    assert runs() == (0, ["pytest"])


def test_arguments_are_pytests_whatever_the_number_of_processes(runs):
    assert runs("tests/vault", "-x", TEST_PROCESSES="4") == (0, ["pytest tests/vault -x"])


def test_what_runs_alone_follows_when_the_others_have_ended(runs):
    code, (shared, alone) = runs(TEST_PROCESSES="3")
    assert code == 0
    assert shared.startswith("pytest -m not alone -n 3 --dist loadfile")
    assert alone == ALONE


def test_either_can_be_had_by_itself(runs, tree):
    _, passes = runs(TEST_PROCESSES="3")
    for name, only in zip(("shared", "alone"), passes, strict=True):
        (tree / "ran").unlink()
        assert runs(TEST_PROCESSES="3", TEST_PASSES=name) == (0, [only])
    (tree / "ran").unlink()
    assert runs(TEST_PASSES="alone") == (0, [ALONE])


def test_a_failure_of_either_is_the_exit_code_and_keeps_neither_from_running(runs, tree):
    for number in range(2):
        (tree / "ran").unlink(missing_ok=True)
        _, passes = runs(TEST_PROCESSES="2")
        (tree / "fails").write_text(passes[number])
        (tree / "ran").unlink()
        assert runs(TEST_PROCESSES="2") == (1, passes)
        (tree / "fails").unlink()
