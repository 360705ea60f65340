import json

import pytest

from easyalert.errors import VaultUnavailable
from tests.admin.conftest import KEY
from tests.admin.test_guard import assert_failure
from vault import Vault, VaultKey

SSH = {"host": "10.0.0.5", "port": 22, "password": "s3cret-value"}


def test_an_entry_from_delivery_to_deletion_in_the_shapes_of_contract_5(client, running):
    assert client.get("/connections").json() == {"success": True, "data": [], "count": 0}

    stored = client.put("/connections/conn-1", json=SSH)
    assert stored.status_code == 200
    assert stored.json() == {"success": True, "data": {"connectionId": "conn-1"}, "message": stored.json()["message"]}
    assert running.vault.get("conn-1") == SSH
    assert client.get("/connections").json() == {"success": True, "data": ["conn-1"], "count": 1}

    tested = client.post("/connections/conn-1/test")
    assert tested.status_code == 200
    assert tested.json() == {
        "success": True,
        "message": tested.json()["message"],
        "data": {"connectionId": "conn-1", "fields": ["host", "password", "port"]},
    }
    assert "s3cret" not in tested.text

    deleted = client.delete("/connections/conn-1")
    assert deleted.json() == {"success": True, "data": {"connectionId": "conn-1"}, "message": deleted.json()["message"]}
    assert running.vault.names() == []


def test_put_replaces_as_a_whole(client, running):
    client.put("/connections/a", json=SSH)
    client.put("/connections/a", json={"token": "t"})
    assert running.vault.get("a") == {"token": "t"}


def test_the_content_type_does_not_matter(client, running):
    answer = client.put("/connections/a", content=b'{"v": 1}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200
    assert running.vault.get("a") == {"v": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"7",
        b'{"v": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"v": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_a_400_that_does_not_repeat_it(client, running, body):
    error = assert_failure(client.put("/connections/a", content=body), 400)
    assert "JSON" in error
    assert not running.vault_path.exists()


@pytest.mark.parametrize("name", ["a%20b", "a.b", "%C3%A4", "x" * 257, "conn-1%0A", "a%ff", "%2e%2e"])
def test_a_bad_id_is_a_400_everywhere(client, running, name):
    assert_failure(client.put(f"/connections/{name}", json={}), 400)
    assert_failure(client.delete(f"/connections/{name}"), 400)
    assert_failure(client.post(f"/connections/{name}/test"), 400)
    assert not running.vault_path.exists()


def test_an_unknown_id_is_a_404(client):
    assert "'nobody'" in assert_failure(client.delete("/connections/nobody"), 404)
    assert_failure(client.post("/connections/nobody/test"), 404)


def test_there_is_no_way_to_read_an_entry(client):
    client.put("/connections/a", json=SSH)
    answer = client.get("/connections/a")
    assert_failure(answer, 405)
    assert answer.headers["allow"]
    assert "s3cret" not in answer.text


def test_unknown_paths_are_json_and_never_redirects(client):
    for path in ("/", "/nothing", "/connections/", "/connections/a/b", "/docs", "/redoc"):
        assert_failure(client.get(path), 404)


def test_rekey(client, running):
    client.put("/connections/a", json=SSH)
    client.put("/connections/b", json={})
    answer = client.post("/vault/rekey", json={"newApiKey": "ea_agent_new"})
    assert answer.status_code == 200
    assert answer.json() == {"success": True, "data": {"rekeyedCount": 2}, "message": answer.json()["message"]}
    assert "AGENT_API_KEY" in answer.json()["message"]
    assert "ea_agent_new" not in answer.text
    assert Vault(running.vault_path, VaultKey("ea_agent_new")).get("a") == SSH
    assert client.post("/connections/a/test").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'["newApiKey"]',
        b"{}",
        b'{"newApiKey": ""}',
        b'{"newApiKey": " "}',
        b'{"newApiKey": null}',
        b'{"newApiKey": 5}',
        b'{"newApiKey": ["x"]}',
    ],
)
def test_rekey_without_a_key_is_a_400_also_for_an_array(client, running, body):
    client.put("/connections/a", json=SSH)
    assert_failure(client.post("/vault/rekey", content=body), 400)
    assert Vault(running.vault_path, VaultKey(KEY)).get("a") == SSH


def test_a_locked_vault_lists_and_says_why_it_does_nothing_else(client, running):
    Vault(running.vault_path, VaultKey("ea_agent_other")).put("a", SSH)
    before = running.vault_path.read_bytes()
    assert client.get("/connections").json()["data"] == ["a"]
    assert "AGENT_API_KEY" in assert_failure(client.put("/connections/b", json={}), 409)
    assert_failure(client.delete("/connections/a"), 409)
    assert_failure(client.post("/connections/a/test"), 409)
    assert_failure(client.post("/vault/rekey", json={"newApiKey": "new"}), 400)
    assert running.vault_path.read_bytes() == before


def test_a_damaged_vault_is_a_409_with_the_next_step_and_stays(client, running):
    running.vault_path.write_bytes(b"{")
    for answer in (
        client.get("/connections"),
        client.put("/connections/a", json={}),
        client.post("/connections/a/test"),
    ):
        assert "vault doctor" in assert_failure(answer, 409)
    assert running.vault_path.read_bytes() == b"{"


def test_a_vault_that_cannot_be_reached_is_a_503(client, running, monkeypatch):
    def unavailable(*_):
        raise VaultUnavailable("the disk is full")

    monkeypatch.setattr(running.vault, "put", unavailable)
    assert assert_failure(client.put("/connections/a", json={}), 503) == "the disk is full"


def test_status_is_what_the_reader_says(client, running):
    running.status = {"agentName": "edge", "vault": {"state": "ok"}}
    assert client.get("/status").json() == {"success": True, "data": running.status}


def test_the_api_describes_itself_to_the_tokens_holder(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/health", "/status", "/connections", "/connections/{connection_id}", "/connections/{connection_id}/test", "/vault/rekey",
    }  # fmt: skip
    body = document["paths"]["/vault/rekey"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["newApiKey"]


def test_no_secret_reaches_the_log(client, caplog):
    caplog.set_level("DEBUG")
    client.put("/connections/a", json=SSH)
    client.post("/connections/a/test")
    client.put("/connections/a", content=json.dumps(SSH)[:-1])
    client.post("/vault/rekey", json={"newApiKey": "ea_agent_new_secret"})
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    text = " ".join(record.getMessage() for record in ours)
    assert "'a'" in text
    assert "s3cret" not in text
    assert "ea_agent_new_secret" not in text
