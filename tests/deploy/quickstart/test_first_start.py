from __future__ import annotations

import json
import os
import sys

import pytest

from deploy.quickstart import first_start
from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home

COMMAND = """\
import json, os, sys
open(os.environ["CALLS"], "a").write(" ".join(sys.argv[1:]) + "\\n")
name = sys.argv[3]
if name in os.environ.get("TAKEN", "").split(","):
    sys.exit("name taken")
made = {"token": "ea_op_new"} if sys.argv[1] == "token" else {"id": "agt_1", "name": name, "apiKey": "ea_agent_new"}
print("oops" if os.environ.get("GARBAGE") else json.dumps(made))
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder, and a stand-in for the command `easyalert-controlplane`."""
    (tmp_path / "command.py").write_text(COMMAND)
    monkeypatch.setattr(
        first_start, "command", lambda _name, *arguments: [sys.executable, str(tmp_path / "command.py"), *arguments]
    )
    monkeypatch.setattr(first_start.platform, "node", lambda: "web 1")
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "CALLS": str(tmp_path / "calls")}


def test_token_and_agent_are_made_once_and_kept(home, environment, tmp_path):
    assert first_start.operator_token(home, environment) == "ea_op_new"
    agent, fresh = first_start.agent_identity(home, environment)
    assert (agent.id, agent.name, agent.key, fresh) == ("agt_1", "web-1", "ea_agent_new", True)
    assert first_start.operator_token(home, environment) == "ea_op_new"
    assert first_start.agent_identity(home, environment) == (agent, False)
    assert (tmp_path / "calls").read_text().splitlines() == [
        "token create --scope operator --name quickstart --json",
        "agents create web-1 --pool default --json",
    ]
    for file in (home.operator_token, home.agent_identity):
        assert file.stat().st_mode & 0o077 == 0


def test_a_start_cut_off_before_the_key_was_kept_is_made_good(home, environment):
    """The control plane has the agent, this folder has not: its name is taken, its key lost."""
    with pytest.raises(QuickstartError, match=r"Making the agent 'web-1' failed.*name taken"):
        first_start.agent_identity(home, {**environment, "TAKEN": "web-1"})
    agent, fresh = first_start.agent_identity(home, {**environment, "TAKEN": "web-1"})
    assert (agent.name, fresh) == ("web-1-2", True)


def test_an_unreadable_answer_is_a_sentence(home, environment):
    with pytest.raises(QuickstartError, match="did not answer with JSON"):
        first_start.operator_token(home, {**environment, "GARBAGE": "1"})


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"id": "agt_1"})])
def test_a_damaged_file_is_named_and_never_replaced(home, environment, text):
    home.agent_identity.write_text(text)
    with pytest.raises(QuickstartError, match=r"agent\.json is damaged"):
        first_start.agent_identity(home, environment)
    assert home.agent_identity.read_text() == text
