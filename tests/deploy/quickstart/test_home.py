from __future__ import annotations

import stat
import subprocess

import pytest

from deploy.quickstart.errors import NotPossibleError
from deploy.quickstart.home import Home, environment_file


def test_the_folder_is_chosen_by_the_environment(tmp_path):
    assert Home.from_environment({"EASYALERT_HOME": str(tmp_path)}).path == tmp_path


def test_without_a_choice_it_is_in_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.from_environment({}).path == tmp_path / ".easyalert-up"
    assert Home.from_environment({"EASYALERT_HOME": ""}).path == tmp_path / ".easyalert-up"


def test_nobody_else_may_look_into_it(tmp_path):
    home = Home(tmp_path / "new" / "home")
    home.prepare()
    home.write_secret(home.operator_token, "secret")
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.controlplane_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.operator_token.stat().st_mode) == 0o600


def test_a_folder_that_others_could_read_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(NotPossibleError, match=r"cannot be used.*EASYALERT_HOME="):
        Home(tmp_path / "home").prepare()


def test_a_full_disk_is_said_with_figures(tmp_path):
    with pytest.raises(NotPossibleError, match=r"too little room at .*: \d+ MiB free, \d+ MiB needed"):
        Home(tmp_path).prepare(min_free=2**62)


def test_two_starts_at_once_are_refused(tmp_path):
    first, second = Home(tmp_path), Home(tmp_path)
    first.prepare()
    with first.locked(), pytest.raises(NotPossibleError, match="Another scripts/up is at work"), second.locked():
        pass
    with second.locked():
        pass


def test_a_shell_reads_the_environment_file(tmp_path):
    file = tmp_path / "agent.env"
    file.write_text(environment_file({"AGENT_API_URL": "http://127.0.0.1:8080", "AGENT_API_KEY": "ea_agent_x"}))
    shown = subprocess.run(
        ["sh", "-c", f"set -a; . {file}; env"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout
    assert "AGENT_API_URL=http://127.0.0.1:8080\n" in shown
    assert "AGENT_API_KEY=ea_agent_x\n" in shown
