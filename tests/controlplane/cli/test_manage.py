import json

import pytest

from controlplane.__main__ import main
from controlplane.cli import exits
from controlplane.models.engine import Database
from controlplane.models.tables import Agent
from controlplane.services import keys, tokens
from controlplane.services.tokens import Scope


@pytest.fixture
def run(tmp_path, capsys):
    def run(*arguments):
        code = main([*arguments, "--data-dir", str(tmp_path / "data")])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def opened(tmp_path):
    return Database(f"sqlite:///{tmp_path / 'data' / 'controlplane.sqlite3'}")


def test_a_token_is_printed_once_and_works(run, tmp_path):
    code, out, _ = run("token", "create", "--scope", "operator", "--name", "ci", "--json")
    told = json.loads(out)
    assert (code, told["scope"], told["name"]) == (exits.OK, "operator", "ci")
    database = opened(tmp_path)
    with database.read() as session:
        assert tokens.find_token(session, told["token"]) == (told["id"], Scope.OPERATOR)
    database.close()


def test_an_agent_is_printed_with_its_key(run, tmp_path):
    code, out, _ = run("agents", "create", "edge-1", "--pool", "eu", "--json")
    told = json.loads(out)
    assert (code, told["name"], told["poolId"]) == (exits.OK, "edge-1", "eu")
    assert keys.lookup_prefix(told["apiKey"])
    database = opened(tmp_path)
    with database.read() as session:
        assert session.get(Agent, told["id"]).pool_id == "eu"
    database.close()


def test_text_for_people(run):
    _, out, _ = run("agents", "create", "edge-1")
    assert "edge-1" in out
    assert "shown only now" in out
    assert "ea_agent_" in out
    _, out, _ = run("token", "create", "--scope", "viewer")
    assert "ea_op_" in out


def test_a_taken_name_is_one_sentence(run):
    run("agents", "create", "edge-1")
    code, out, err = run("agents", "create", "edge-1")
    assert (code, out) == (exits.FAILURE, "")
    assert err.count("\n") == 1
    assert "taken" in err
    assert "Traceback" not in err


def test_an_impossible_pool_is_one_sentence(run):
    code, _, err = run("agents", "create", "x", "--pool", "a b")
    assert code == exits.FAILURE
    assert "poolId must be" in err


def test_data_is_private(run, tmp_path):
    run("token", "create", "--scope", "viewer")
    folder = tmp_path / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "controlplane.sqlite3").stat().st_mode & 0o777 == 0o600
