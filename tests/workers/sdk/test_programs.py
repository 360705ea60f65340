from __future__ import annotations

import os
import sys
from pathlib import Path

from workers.sdk import programs


def test_the_search_path_is_the_agents_without_its_virtual_environment(monkeypatch):
    own = str(Path(sys.prefix) / "bin")
    monkeypatch.setenv("PATH", os.pathsep.join([own, "/usr/bin", "", "/bin"]))
    assert programs.search_path() == "/usr/bin:/bin"
    monkeypatch.delenv("PATH")
    assert programs.search_path() == programs.DEFAULT_PATH


def test_an_administrators_program_is_found_where_the_agents_path_does_not_lead(monkeypatch, tmp_path):
    """An account's PATH often leaves out /usr/sbin, where `shutdown` is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.system_program("sh") is not None
    assert programs.system_program("no-such-program") is None
    assert programs.system_program("sh", str(tmp_path)) is None


def test_the_environment_holds_nothing_of_the_agents_own_but_language_and_time_zone(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENT_API_KEY", "not-this")
    monkeypatch.setenv("LC_TIME", "de_DE.UTF-8")
    found = programs.environment_for(tmp_path, "/bin", "somebody")
    assert found["LC_TIME"] == "de_DE.UTF-8"
    assert (found["HOME"], found["USER"], found["PATH"]) == (str(tmp_path), "somebody", "/bin")
    assert "AGENT_API_KEY" not in found
