from __future__ import annotations

import base64
import json

import pytest

from cli.__main__ import main
from easyalert.audit.log import segments
from easyalert.delivery_key import ensure_delivery_key, public_delivery_key
from easyalert.protocol.sealed import fingerprint
from easyalert.sealing import load_private_key
from tests.support.agent_home import API_KEY


@pytest.fixture
def home(make_home, monkeypatch):
    made = make_home("https://control.example")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.folder)
    return made


def test_it_shows_the_public_half_and_its_fingerprint(home, capsys):
    public = public_delivery_key(home.settings.delivery_key_path)
    assert main(["delivery-key"]) == 0
    out = capsys.readouterr().out
    assert base64.b64encode(public).decode() in out
    assert fingerprint(public) in out
    assert main(["delivery-key", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"publicKey": base64.b64encode(public).decode(), "publicKeyFingerprint": fingerprint(public)}


def test_rotating_makes_a_new_pair_that_the_agent_opens_and_records_it(home, capsys):
    former = public_delivery_key(home.settings.delivery_key_path)
    assert main(["delivery-key", "--rotate"]) == 0
    new = public_delivery_key(home.settings.delivery_key_path)
    assert new != former
    assert fingerprint(new) in capsys.readouterr().out
    agent_key = load_private_key(home.settings.agent_key_path, [API_KEY])
    assert ensure_delivery_key(home.settings.delivery_key_path, agent_key).public_key().public_bytes_raw() == new
    (segment,) = segments(home.settings.audit_dir)
    assert [json.loads(line)["kind"] for line in segment.read_text().splitlines()] == ["delivery_key.rotated"]


def test_rotating_with_another_api_key_changes_nothing(home, capsys, monkeypatch):
    before = home.settings.delivery_key_path.read_bytes()
    monkeypatch.setenv("AGENT_API_KEY", "another")
    assert main(["delivery-key", "--rotate"]) == 2
    assert "AGENT_API_KEY does not open" in capsys.readouterr().err
    assert home.settings.delivery_key_path.read_bytes() == before


def test_before_the_first_start_there_is_none(home, capsys):
    home.settings.delivery_key_path.unlink()
    assert main(["delivery-key"]) == 2
    assert "the agent makes it when it starts" in capsys.readouterr().err
    home.settings.agent_key_path.unlink()
    assert main(["delivery-key", "--rotate"]) == 2
    assert "the agent makes it when it starts" in capsys.readouterr().err
