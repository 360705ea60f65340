from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.scripts.conftest import ROOT

PYTHON = """\
case "$*" in
*ensurepip*) exit ${PYTHON_UNUSABLE:-0} ;;
--version) echo "Python 3.11.2" ;;
*"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*"pip "*) [ -z "${PIP_FAILS:-}" ] || { echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"; exit 1; } ;;
esac"""


@pytest.fixture
def tree(tmp_path, host):
    """A copy of what setup reads, with a python and a server that are stand-ins."""
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    for name in (
        "scripts/setup",
        "scripts/install-packages",
        "requirements.lock",
        "requirements-dev.lock",
        "pyproject.toml",
    ):
        shutil.copy2(ROOT / name, tree / name)
    host.real("sha256sum", "cut", "date", "mkdir", "cp", "tee", "awk", "mv")
    host.program("python3", PYTHON)
    host.program("redis-server")
    return tree


def setup(host, tree: Path, *arguments: str, **environment: str):
    return host.run(str(tree / "scripts" / "setup"), *arguments, cwd=tree, **environment)


def installs(host):
    return [call for call in host.calls if " install " in call and "pip" in call]


def test_it_installs_with_hashes_and_then_has_nothing_to_do(host, tree):
    first = setup(host, tree)
    assert first.returncode == 0, first.stderr
    assert "--require-hashes -r requirements.lock" in installs(host)[0]
    assert "--no-deps --no-build-isolation -e ." in installs(host)[1]
    before = len(installs(host))
    second = setup(host, tree)
    assert (second.returncode, second.stderr, len(installs(host))) == (0, "", before)


def test_what_was_made_for_development_serves_for_running(host, tree):
    assert setup(host, tree, "--dev").returncode == 0
    assert "-r requirements-dev.lock" in installs(host)[0]
    before = len(installs(host))
    assert setup(host, tree).stderr == ""
    assert len(installs(host)) == before


def test_what_was_made_for_running_does_not_serve_for_development(host, tree):
    setup(host, tree)
    setup(host, tree, "--dev")
    assert "-r requirements-dev.lock" in installs(host)[-2]


def test_a_changed_lock_file_is_noticed_and_development_stays(host, tree):
    setup(host, tree, "--dev")
    with (tree / "requirements-dev.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "bringing .venv up to date" in setup(host, tree).stderr
    assert "-r requirements-dev.lock" in installs(host)[-2]


def test_an_interrupted_run_is_started_over(host, tree):
    failed = setup(host, tree, PIP_FAILS="1")
    assert failed.returncode == 1
    assert "DO NOT MATCH THE HASHES" in failed.stderr
    again = setup(host, tree)
    assert again.returncode == 0
    assert "making .venv" in again.stderr


def test_without_python_or_server_and_without_rights_the_command_is_named(host, tree, as_user):
    (host.bin / "redis-server").unlink()
    host.program("apt-get")
    host.program("apt-cache", 'echo "  Candidate: 1"')
    done = setup(host, tree, PYTHON_UNUSABLE="1")
    # the machine's own /usr/bin/python3 may be usable; the server is missing in any case
    assert done.returncode == 3
    assert "a Valkey or Redis server is missing" in done.stderr
    assert "valkey-server" in done.stderr
    assert installs(host) == []


def test_a_server_named_valkey_is_enough(host, tree):
    (host.bin / "redis-server").unlink()
    host.program("valkey-server")
    assert setup(host, tree).returncode == 0


def test_an_unknown_option_is_refused(host, tree):
    done = setup(host, tree, "--devv")
    assert done.returncode == 2
    assert "'--devv' is not an option" in done.stderr
