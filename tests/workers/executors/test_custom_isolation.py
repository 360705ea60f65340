"""A custom action is kept from the agent's files as a script is, unless its owner says otherwise."""

from __future__ import annotations

import pytest

from tests.workers.executors.test_custom import Folder
from workers.executors.custom import Custom
from workers.isolation import Isolation
from workers.limits import Limits
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system

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
