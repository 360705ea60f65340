import asyncio
import json
import socket

import httpx
import pytest

from admin import api, guard
from admin.guard import Guard
from tests.admin.conftest import KEY, TOKEN, served
from tests.support.ports import free_port
from tests.support.waiting import eventually
from vault import Vault, VaultKey


def routes(tmp_path):
    """Every (method, path) of the application: from its routers, and from its own description of itself."""
    store = Vault(tmp_path / "vault.json", VaultKey(KEY))
    app = api.build(store, rekey=store.rekey, status=dict)
    found = set()
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):  # an included router
            waiting += route.original_router.routes
        else:
            found |= {(method, route.path) for method in route.methods}
    described = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert found > described
    return sorted(found)


def raw(port, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def assert_failure(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["success"] is False
    assert body["error"]
    return body["error"]


# Who asks


def test_every_route_there_is_refuses_without_the_token(running, tmp_path):
    walked = [(method, path) for method, path in routes(tmp_path) if path != "/health"]
    assert {path for _, path in walked} >= {
        "/connections", "/connections/{connection_id}", "/connections/{connection_id}/test", "/vault/rekey", "/status", "/openapi.json",
    }  # fmt: skip
    with running.stranger() as stranger:
        for method, path in walked:
            running.clock.now += 60
            answer = stranger.request(method, path.replace("{connection_id}", "a"))
            assert answer.status_code == 401, (method, path)
    assert not running.vault_path.exists()


def test_unknown_paths_and_methods_refuse_without_the_token_too(running):
    with running.stranger() as stranger:
        for method, path in (
            ("GET", "/nothing"),
            ("POST", "/connections"),
            ("OPTIONS", "/connections"),
            ("GET", "/health/"),
            ("GET", "//health"),
        ):
            error = assert_failure(stranger.request(method, f"{running.url}{path}"), 401)
            assert "Bearer" in error


def test_health_is_open_and_says_nothing(running):
    with running.stranger() as stranger:
        answer = stranger.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "header",
    [
        b"", b"Bearer", b"Bearer ", b"bearer " + TOKEN.encode(), b"Basic " + TOKEN.encode(), TOKEN.encode(),
        b"Bearer  " + TOKEN.encode(), b"Bearer " + TOKEN.encode() + b"x", b"Bearer " + TOKEN[:-1].encode(),
        b"Bearer " + TOKEN.upper().encode(), b"Bearer \xe4\xff", b"Bearer t\xc3\xb6ken",
    ],
)  # fmt: skip
def test_anything_but_the_token_is_a_401_also_outside_ascii(running, header):
    request = (
        b"GET /connections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: " + header + b"\r\n\r\n"
    )
    answer = raw(running.port, request)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["success"] is False
    assert b"www-authenticate: Bearer" in answer


def test_tokens_are_compared_as_digests_whatever_their_length(running, monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(guard.hmac, "compare_digest", compare)
    for token in ("x", TOKEN, "y" * 5000):
        with running.stranger(Authorization=f"Bearer {token}") as stranger:
            stranger.get("/status")
    assert {len(value) for pair in compared for value in pair} == {32}
    assert [one == other for one, other in compared] == [False, True, False]
    assert TOKEN.encode() not in {value for pair in compared for value in pair}


def test_two_authorizations_are_none(running):
    header = f"Authorization: Bearer {TOKEN}\r\n".encode()
    answer = raw(
        running.port, b"GET /connections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + header * 2 + b"\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_token_outside_ascii_can_be_used(tmp_path):
    store = Vault(tmp_path / "vault.json", VaultKey(KEY))
    port = free_port()
    with served(Guard(api.build(store, rekey=store.rekey, status=dict), token="schlüssel-zum-tor"), port):
        answer = raw(
            port,
            "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer schlüssel-zum-tor\r\n\r\n".encode(),
        )
    assert answer.startswith(b"HTTP/1.1 200 ")


# From where


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil:9191",
        "10.0.0.1",
        "127.0.0.2",
        "localhost:9191:80",
        "",
        "[::1]",
    ],
)
def test_a_foreign_host_name_is_refused_with_the_right_token(running, host):
    with running.client(Host=host) as client:
        assert_failure(client.get("/connections"), 403)
        assert_failure(client.get("/health"), 403)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost:9191", "127.0.0.1:8080"])
def test_local_names_pass_through_tunnels_too(running, host):
    with running.client(Host=host) as client:
        assert client.get("/connections").status_code == 200


def test_a_request_without_or_with_two_hosts_is_refused(running):
    bearer = f"Authorization: Bearer {TOKEN}\r\n".encode()
    assert raw(running.port, b"GET /connections HTTP/1.0\r\n" + bearer + b"\r\n").startswith(b"HTTP/1.1 403 ")
    twice = (
        b"GET /connections HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n"
        + bearer
        + b"\r\n"
    )
    assert raw(running.port, twice).split(b" ")[1] in {b"400", b"403"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:3000"}, {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "invented"},
    ],
)  # fmt: skip
def test_requests_of_foreign_pages_are_refused_with_the_right_token(running, headers):
    with running.client(**headers) as client:
        assert_failure(client.put("/connections/a", json={}), 403)
    assert not running.vault_path.exists()


def test_requests_of_no_page_or_our_own_origin_pass(running):
    for headers in ({"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": running.url}):
        with running.client(**headers) as client:
            assert client.get("/connections").status_code == 200


def test_no_answer_invites_a_browser(client):
    answer = client.get("/connections", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = client.options("/connections", headers={"Access-Control-Request-Method": "PUT"})
    assert_failure(answer, 405)


def test_forwarded_headers_change_nothing(running):
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "localhost",
        "Forwarded": "for=203.0.113.9;host=localhost",
    }
    with running.client(Host="evil.example", **forged) as client:
        assert_failure(client.get("/connections"), 403)
    with running.stranger() as stranger:
        for number in range(guard.FAILURES_PER_MINUTE):
            assert stranger.get("/connections", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code == 401
        assert stranger.get("/connections", headers={"X-Forwarded-For": "203.0.113.99"}).status_code == 429


# How often (C16)


def test_60_requests_a_minute_for_the_tokens_holder(running, client):
    for _ in range(60):
        assert client.get("/connections").status_code == 200
    answer = client.get("/connections")
    assert_failure(answer, 429)
    assert answer.headers["retry-after"] == "60"
    assert client.get("/health").status_code == 200
    running.clock.now += 59
    assert client.get("/connections").headers["retry-after"] == "1"
    running.clock.now += 1
    assert client.get("/connections").status_code == 200


def test_strangers_do_not_use_up_the_holders_requests(running, client):
    with running.stranger(Authorization="Bearer wrong") as stranger:
        codes = [stranger.get("/connections").status_code for _ in range(100)]
        assert codes == [401] * 10 + [429] * 90
        answer = stranger.get("/connections")
        assert_failure(answer, 429)
        assert answer.headers["retry-after"] == "60"
    for _ in range(60):
        assert client.get("/connections").status_code == 200


def test_the_holder_does_not_use_up_the_strangers_patience_and_it_recovers(running, client):
    for _ in range(60):
        assert client.get("/status").status_code == 200
    assert client.get("/status").status_code == 429
    with running.stranger() as stranger:
        assert stranger.get("/status").status_code == 401
        for _ in range(11):
            stranger.get("/status")
        assert stranger.get("/status").status_code == 429
        running.clock.now += 60
        assert stranger.get("/status").status_code == 401


# How much (C22)


def test_a_body_above_1_mib_is_a_413_in_json(running, client):
    body = json.dumps({"x": "y" * guard.MAX_BODY_BYTES}).encode()
    assert "1048576" in assert_failure(client.put("/connections/a", content=body), 413)
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    assert_failure(client.put("/connections/a", content=chunks), 413)
    assert not running.vault_path.exists()


def test_a_client_that_sends_all_of_a_large_body_first_still_gets_its_answer(running):
    head = f"PUT /connections/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {8 << 20}\r\n\r\n"
    answer = raw(running.port, head.encode() + b"x" * (8 << 20))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_of_exactly_1_mib_passes(client):
    wrap = len(json.dumps({"x": ""}))
    body = json.dumps({"x": "y" * (guard.MAX_BODY_BYTES - wrap)}).encode()
    assert len(body) == guard.MAX_BODY_BYTES
    assert client.put("/connections/a", content=body).status_code == 200


def test_a_strangers_body_is_not_waited_for(running):
    request = b"PUT /connections/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
    assert raw(running.port, request).startswith(b"HTTP/1.1 401 ")


# What goes wrong


def test_a_mistake_of_ours_is_a_500_in_json_and_one_line_in_the_log(running, client, monkeypatch, caplog):
    def fail():
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(running.vault, "names", fail)
    assert "secret" not in assert_failure(client.get("/connections"), 500)
    # The answer goes out before the record.
    records = eventually(lambda: [record for record in caplog.records if record.name == "admin.guard"])
    assert [record.getMessage() for record in records] == ["the admin API made a mistake on GET /connections"]


def test_control_characters_in_the_path_are_a_400(client):
    for path in ("/connections/conn-1%0A", "/connections%0A", "/connections/a%00/test", "/status%0D%0A"):
        assert_failure(client.put(path, json={}), 400)


def test_no_answer_may_be_kept_or_guessed_at(client):
    answer = client.get("/connections")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_what_is_not_http_goes_unanswered():
    async def nobody(*_):
        pytest.fail("must not be asked")

    asyncio.run(Guard(nobody, token=TOKEN)({"type": "websocket"}, nobody, nobody))


def test_a_websocket_handshake_is_an_ordinary_unauthorised_request(running):
    with httpx.Client(trust_env=False) as client:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        assert client.get(f"{running.url}/connections", headers=headers).status_code == 401
