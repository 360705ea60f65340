from __future__ import annotations

import pytest

from easyalert.errors import AgentFault
from tests.workers.isolated import home, settings
from workers.isolation_trial import find_isolation, hidden_paths

pytestmark = pytest.mark.system

__all__ = ["home"]


@pytest.mark.parametrize("asked", ["auto", "userns", "none", "user:deploy", "auto:svc_run-1"])
def test_ways_there_are(home, asked):
    assert settings(home, script_isolation=asked).script_isolation == asked


@pytest.mark.parametrize("asked", ["user", "user:", "user:a b", "user:../x", "User:x", "container"])
def test_everything_else_is_no_way(home, asked):
    with pytest.raises(ValueError, match="SCRIPT_ISOLATION"):
        settings(home, script_isolation=asked)


def test_hidden_is_what_the_agent_keeps_and_what_the_operator_names(home):
    more = {
        "policy_file": home / "p/policy.toml",
        "agent_api_key_file": home / "key",
        "script_hidden_paths": f"{home}/secrets, {home}/state/run",
        "vault_path": home / "v/vault.json",
    }
    found = hidden_paths(settings(home, **more))
    assert set(found) == {home / name for name in ("state", "v", "cwd/.env", "p/policy.toml", "key", "secrets")}


def test_paths_to_hide_have_to_be_whole(home):
    for wrong in ("relative/path", "/", "/a,b"):
        with pytest.raises(ValueError, match="whole paths"):
            settings(home, script_hidden_paths=wrong)


def test_a_vault_in_a_folder_that_is_open_to_others_cannot_be_hidden(home):
    shared = home / "shared"
    shared.mkdir(mode=0o755)
    shared.chmod(0o755)
    found = find_isolation(settings(home, script_isolation="userns", vault_path=shared / "vault.json"), "a")
    assert found.mode == "refused"
    assert f"chmod 700 {shared}" in found.sentence
    with pytest.raises(AgentFault, match="runs no scripts: SCRIPT_ISOLATION=userns does not work"):
        found.require()
