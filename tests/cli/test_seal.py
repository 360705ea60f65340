"""`easyalert-agent seal`, offline and against a real control plane."""

from __future__ import annotations

import base64
import io
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cli.__main__ import main
from controlplane.services.tokens import Scope
from easyalert.protocol.ids import is_job_id
from easyalert.protocol.sealed import FORMAT, STORE_CREDENTIAL, fingerprint, open_sealed, read_sealed
from tests.controlplane.conftest import database, live, migrated_file
from tests.controlplane.world import EXTENSIONS

__all__ = ["database", "live", "migrated_file"]

CANARY = "c4nary-of-the-caller"
SECRET = {"username": "deploy", "password": CANARY}


class Keyed:
    """An agent's key pair."""

    def __init__(self):
        self.key = X25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.text = base64.b64encode(self.public).decode()

    def opened(self, purpose, value, action, connection):
        return open_sealed(self.key, read_sealed(purpose, value), action, connection)


@pytest.fixture
def agent():
    return Keyed()


@pytest.fixture
def seal(capsys, monkeypatch):
    def run(*words, stdin=None):
        if stdin is not None:
            text = stdin if isinstance(stdin, str) else json.dumps(stdin)
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        code = main(["seal", *map(str, words)])
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        return code, said.out, said.err

    return run


def test_credentials_are_sealed_offline(seal, agent, tmp_path):
    file = tmp_path / "db.json"
    file.write_text(json.dumps(SECRET))
    code, out, _ = seal(file, "--connection", "web-db", "--agent", "agt_1", "--key", agent.text, "--for", "2h")
    assert code == 0
    body = json.loads(out)
    assert (body["actionType"], body["agentId"]) == (STORE_CREDENTIAL, "agt_1")
    value = body["params"]["credentials"]
    assert agent.opened("credentials", value, STORE_CREDENTIAL, "web-db") == SECRET
    assert is_job_id(value[FORMAT]["jobId"])
    assert 7190 < value[FORMAT]["expiresAt"] - time.time() <= 7200


def test_a_jobs_parameters_are_sealed_and_its_time_limit_stays_in_clear(seal, agent, tmp_path):
    key = tmp_path / "agent.pub"
    key.write_text(f"{agent.text}\n")
    job = {"actionType": "script.bash", "connectionId": "web", "priority": 5, "poolId": "default"}
    for limits in ({"timeout": 60}, {"params": {"timeout": 60}}):
        asked = {**job, **limits, "params": {"script": CANARY, **limits.get("params", {})}}
        code, out, _ = seal("-", "--agent", "agt_1", "--key", key, stdin=asked)
        assert code == 0
        body = json.loads(out)
        assert body.keys() == {"actionType", "connectionId", "priority", "agentId", "params"}
        assert body["params"].keys() == {FORMAT, "timeout"}
        value = {FORMAT: body["params"][FORMAT]}
        assert agent.opened("params", value, "script.bash", "web") == {"script": CANARY}


@pytest.mark.parametrize(
    ("words", "stdin", "sentence"),
    [
        (["--pool", "default", "--connection", "c"], SECRET, "--pool is for credentials"),
        (["--agent", "a", "--connection", "c"], SECRET, "give the agent's public key (--key), or --url"),
        (["--agent", "a", "--connection", "c", "--key", "KEY", "--for", "60d"], SECRET, "31 days at most"),
        (["--agent", "a", "--connection", "c", "--key", "KEY", "--for", "soon"], SECRET, "no span of time"),
        (["--agent", "a/b", "--connection", "c", "--key", "KEY"], SECRET, "the agent id must be"),
        (["--agent", "a", "--connection", "c", "--key", "KEY"], CANARY, "that is not JSON"),
        (["--agent", "a", "--connection", "c", "--key", "KEY"], "{}", "not empty"),
        (["--agent", "a", "--key", "KEY"], SECRET, "is no job"),
        (["--agent", "a", "--key", "KEY"], {"actionType": STORE_CREDENTIAL, "params": SECRET}, "and --connection ID"),
        (["--agent", "a", "--key", "KEY"], {"actionType": "a.b", "signature": {}}, "seal first, then sign"),
        (["--agent", "a", "--connection", "c", "--key", "/nonexistent"], SECRET, "cannot be read"),
        (["--agent", "a", "--connection", "c", "--key", "/dev/null"], SECRET, "is empty"),
        (["--agent", "a", "--connection", "c", "--key", "KEY", "--fingerprint", "00"], SECRET, "nothing was sealed"),
        (["--agent", "a", "--connection", "c", "--url", "http://h.example"], SECRET, "--url must be https"),
        (["--agent", "a", "--connection", "c", "--url", "https://h.example"], SECRET, "an operator's token is needed"),
    ],
)
def test_refusals_say_what_to_do(seal, agent, words, stdin, sentence, monkeypatch):
    monkeypatch.delenv("EASYALERT_TOKEN", raising=False)
    code, out, err = seal("-", *[agent.text if word == "KEY" else word for word in words], stdin=stdin)
    assert code in {1, 2}
    assert out == ""
    assert sentence in err
    assert "Traceback" not in err


# ---- with a control plane -------------------------------------------------------------------------------------------

SEALING = (*EXTENSIONS, "sealed")


@pytest.fixture
def url(live, monkeypatch):
    monkeypatch.setenv("EASYALERT_TOKEN", live.tokens[Scope.OPERATOR])
    return live.url


@pytest.mark.system
def test_the_key_is_asked_for_and_the_credentials_arrive(seal, live, url, agent):
    there = live.agent(features=SEALING, publicKey=agent.text)
    code, out, err = seal("-", "--connection", "web-db", "--agent", there.id, "--url", url, stdin=SECRET)
    assert code == 0, err
    assert f"is the control plane's word: {fingerprint(agent.public)}" in err
    (told,) = json.loads(out)["jobs"]
    assert (told["agentId"], told["sealedBy"]) == (there.id, "caller")
    (wire,) = there.poll()
    assert wire["jobId"] == told["jobId"]
    assert agent.opened("credentials", wire["params"]["credentials"], STORE_CREDENTIAL, "web-db") == SECRET


@pytest.mark.system
def test_a_known_fingerprint_needs_no_word_and_another_seals_nothing(seal, live, url, agent, tmp_path):
    there = live.agent(features=SEALING, publicKey=agent.text)
    known = ":".join(fingerprint(agent.public)[i : i + 2].upper() for i in range(0, 64, 2))
    token = tmp_path / "token"
    token.write_text(live.tokens[Scope.OPERATOR])
    words = ("-", "--agent", there.id, "--url", url, "--token-file", token, "--fingerprint")
    job = {"actionType": "script.bash", "params": {"script": CANARY}}
    code, out, err = seal(*words, known, stdin=job)
    assert (code, err) == (0, "")
    (wire,) = there.poll()
    assert wire["jobId"] == json.loads(out)["jobId"]
    assert agent.opened("params", wire["params"], "script.bash", None) == {"script": CANARY}
    code, out, err = seal(*words, "0" * 64, stdin=job)
    assert (code, out) == (2, "")
    assert "nothing was sealed" in err
    assert there.poll() == []


@pytest.mark.system
def test_every_agent_of_a_pool_gets_its_own(seal, live, url):
    pairs = [(keyed := Keyed(), live.agent("east", features=SEALING, publicKey=keyed.text)) for _ in range(3)]
    prints = [word for keyed, _ in pairs for word in ("--fingerprint", fingerprint(keyed.public))]
    code, _, err = seal("-", "--connection", "web-db", "--pool", "east", "--url", url, *prints, stdin=SECRET)
    assert (code, err) == (0, "")
    for keyed, there in pairs:
        (wire,) = there.poll()
        assert keyed.opened("credentials", wire["params"]["credentials"], STORE_CREDENTIAL, "web-db") == SECRET
    plain = live.agent("east")
    code, out, err = seal("-", "--connection", "web-db", "--pool", "east", "--url", url, *prints, stdin=SECRET)
    assert (code, out) == (2, "")
    assert plain.id in err
    assert "takes nothing sealed" in err
    assert [there.poll() for _, there in pairs] == [[], [], []]


@pytest.mark.system
def test_what_the_control_plane_refuses_is_said(seal, live, url, agent, monkeypatch):
    there = live.agent(features=SEALING, publicKey=Keyed().text)
    words = ("-", "--connection", "web-db", "--agent", there.id, "--url", url)
    code, _, err = seal(*words, "--key", agent.text, stdin=SECRET)
    assert code == 1
    assert "the control plane says 409" in err
    assert "seal them anew" in err
    for words, stdin in (
        (("-", "--connection", "web-db", "--agent", "none", "--url", url), SECRET),
        (("-", "--connection", "web-db", "--pool", "none", "--url", url), SECRET),
        (("-", "--connection", "web-db", "--agent", there.id, "--url", "http://127.0.0.1:9"), SECRET),
    ):
        code, out, err = seal(*words, stdin=stdin)
        assert code in {1, 2}
        assert out == ""
        assert err.startswith("easyalert-agent: ")
    monkeypatch.setenv("EASYALERT_TOKEN", "ünusable")
    assert seal("-", "--connection", "c", "--agent", "a", "--url", url, stdin=SECRET)[0] == 2
