"""A custom action is kept from the agent's files as a script is, unless its owner says otherwise."""

from __future__ import annotations

import pytest

from tests.workers.executors.test_custom import Folder
from tests.workers.isolated import home, isolated
from workers.executors.custom import Custom
from workers.isolation import Isolation
from workers.limits import Limits
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system

__all__ = ["home"]

LIMIT = "#!/bin/sh\nulimit -n\n"


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "actions")
    made.add("kept", LIMIT)
    made.add("free", LIMIT, "isolated = false")
    return made


def test_the_agents_limits_hold_unless_the_owner_lifts_them(folder, tmp_path):
    harness = Harness(Custom(folder.path), tmp_path, limits=Limits(open_files=77))
    assert harness.run("kept", {}).recorded["output"]["result"] == 77
    assert harness.run("free", {}).recorded["output"]["result"] != 77


def test_where_scripts_are_refused_so_is_what_runs_like_them(folder, tmp_path):
    refused = Isolation("userns", "refused", "no user namespaces")
    harness = Harness(Custom(folder.path), tmp_path, isolation=refused)
    assert "SCRIPT_ISOLATION=userns does not work" in harness.run("kept", {}).error
    assert harness.run("free", {}).recorded["status"] == "success"


def test_in_namespaces_it_gets_its_input_and_does_not_see_the_vault(home, folder):
    folder.add("read", f"#!/bin/sh\ncat\ncat {home}/state/vault.json >&2\n")
    ran = Harness(Custom(folder.path), home / "state/tmp", isolation=isolated(home)).run("read", {"a": 1})
    assert ran.recorded["output"]["result"]["params"] == {"a": 1}
    assert "No such file" in ran.recorded["output"]["stderr"]


def test_one_that_lies_in_what_is_hidden_is_told_so(home):
    below = Folder(home / "state/actions")
    below.add("kept")
    below.add("free", manifest="isolated = false")
    harness = Harness(Custom(below.path), home / "state/tmp", isolation=isolated(home))
    assert "move CUSTOM_ACTIONS_DIR elsewhere" in harness.run("kept", {}).error
    assert harness.run("free", {}).recorded["status"] == "success"
