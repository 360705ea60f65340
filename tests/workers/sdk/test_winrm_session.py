"""Whom the winrm executor talks to, and whom it believes (defects C2, C10, C12)."""

from __future__ import annotations

import http.server
import socket
import threading

import pytest
import requests.adapters
import spnego

from easyalert.netguard import resolver
from tests.support.ports import free_port
from tests.support.tls import throwaway_authority
from tests.support.wsman_case import HI, entry, run_job
from tests.support.wsman_server import WsmanServer
from workers.sdk import winrm_session

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return throwaway_authority(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def host(tmp_path):
    with WsmanServer(tmp_path) as server:
        yield server


@pytest.fixture
def tls(tmp_path, authority):
    with WsmanServer(tmp_path, authority, offers=("Negotiate", "Basic")) as server:
        server.entry = entry(server.port, host="localhost", useSsl=True, caCertificate=authority.root.read_text())
        yield server


@pytest.fixture
def run(tmp_path):
    def job(credential, params=None, **how):
        return run_job(tmp_path, credential, {"command": HI, "connectionConfig": {}, **(params or {})}, **how)

    return job


# ---- TLS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["ntlm", "basic", "NTLM", "ssl"])
def test_over_tls_with_a_certificate_that_is_trusted(tls, run, transport):
    result = run(tls.entry | {"transport": transport}, name="testConnection")
    assert result["status"] == "success", result
    steps = [(step["step"], step["ok"]) for step in result["output"]["steps"]]
    assert steps == [("name", True), ("tcp", True), ("tls", True), ("login", True), ("permission", True)]
    assert result["output"]["steps"][2]["detail"].endswith("certificate checked")
    assert tls.logins[0] == ("admin", "ntlm" if transport.lower() == "ntlm" else "basic")


@pytest.mark.parametrize("change", [{"caCertificate": None}, {"host": "127.0.0.1"}, {"caCertificate": "other"}])
def test_defect_c12_a_certificate_that_is_not_the_hosts_ends_it_before_the_login(tls, run, change, tmp_path):
    if change.get("caCertificate") == "other":
        (tmp_path / "other").mkdir()
        change = {"caCertificate": throwaway_authority(tmp_path / "other", "localhost").root.read_text()}
    result = run(tls.entry | change, name="testConnection")
    assert result["status"] == "error"
    assert "is not trusted" in result["error"]
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]][-1] == ("tls", False)
    assert tls.seen == tls.logins == []


@pytest.mark.parametrize("where", ["top", "nested"])
def test_defect_c12_a_job_cannot_switch_the_check_off_nor_name_an_authority(tls, authority, run, where):
    wanted = {"verifyTls": False, "caCertificate": authority.root.read_text(), "allowUnencrypted": True}
    params = wanted if where == "top" else {"connectionConfig": wanted}
    assert "is not trusted" in run(tls.entry | {"caCertificate": None}, params)["error"]
    assert tls.logins == []


def test_the_owner_can_switch_the_check_off_and_the_test_says_so(tls, run):
    result = run(tls.entry | {"caCertificate": None, "verifyTls": False, "host": "127.0.0.1"}, name="testConnection")
    assert result["status"] == "success"
    assert "certificate not verified" in result["output"]["message"]
    assert "NOT checked" in result["output"]["steps"][2]["detail"]


def test_what_is_no_certificate_is_named(tls, run):
    assert "'caCertificate' of connection" in run(tls.entry | {"caCertificate": "rubbish"})["error"]


def test_a_login_by_ntlm_is_bound_to_the_certificate(tls, run, tmp_path, authority):
    """RFC 5929: passed on by somebody with another certificate, it is worth nothing."""
    (tmp_path / "relay").mkdir()
    relay = throwaway_authority(tmp_path / "relay", "localhost")
    tls.bound_to = relay.chain
    result = run(tls.entry)
    assert "refused the login" in result["error"]
    assert tls.logins == []


@pytest.mark.parametrize(
    ("use_ssl", "words"), [(True, "no TLS with"), (False, "broke off; if it expects TLS there, set 'useSsl'")]
)
def test_tls_on_one_side_only_says_which_setting(host, tls, run, use_ssl, words):
    port = host.port if use_ssl else tls.port
    result = run(entry(port, host="localhost", useSsl=use_ssl))
    assert words in result["error"], result


# ---- encryption without TLS -----------------------------------------------------------------------------------------


def test_over_http_every_message_of_ntlm_is_encrypted(host, run):
    assert run(entry(host.port))["status"] == "success"
    assert {encrypted for _, _, encrypted in host.seen} == {True}


def test_an_answer_in_clear_text_is_not_believed(host, run):
    """Who sits on the path could have written it."""

    def clear(handler, envelope):
        handler.encrypted = False

    host.fault["Receive"] = clear
    result = run(entry(host.port))
    assert "answered an encrypted message in clear text" in result["error"]
    assert result["output"]["stdout"] == ""


def test_a_fault_in_clear_text_is_not_believed_either(host, run):
    host.fault["Create"] = lambda handler, envelope: (
        handler.answer(500, b"<x>Your password is wrong, send it to me</x>") or False
    )
    assert "in clear text" in run(entry(host.port))["error"]


def test_a_login_after_which_nothing_could_be_encrypted_sends_nothing(host, run, monkeypatch):
    weak = spnego.ContextReq.mutual_auth
    monkeypatch.setattr(spnego._ntlm.NTLMProxy, "context_attr", property(lambda self: weak))
    assert "takes no encrypted messages" in run(entry(host.port))["error"]
    assert host.seen == []


@pytest.mark.parametrize("transport", ["basic", "plaintext"])
def test_basic_over_http_is_refused_unless_the_owner_says_so(tmp_path, run, transport):
    with WsmanServer(tmp_path, offers=("Basic",)) as host:
        credential = entry(host.port, transport=transport)
        for params in ({}, {"allowUnencrypted": True}, {"connectionConfig": {"allowUnencrypted": True}}):
            result = run(credential, params)
            assert "sends the password in clear text and is refused" in result["error"]
            assert result["exitCode"] == -1
        assert host.connections == 0
        result = run(credential | {"allowUnencrypted": True}, name="testConnection")
        assert result["status"] == "success"
        assert "NOT encrypted" in result["output"]["message"]


# ---- ways to log in -------------------------------------------------------------------------------------------------


def test_kerberos_without_its_library_says_so(run):
    assert "lacks pyspnego[kerberos]; use ntlm" in run(entry(1, transport="kerberos"))["error"]


@pytest.mark.parametrize(
    ("offers", "transport"), [(("Basic",), "ntlm"), (("Negotiate", "Kerberos"), "basic"), (("Kerberos",), "ntlm")]
)
def test_a_host_that_does_not_take_this_way_says_which_it_takes(tmp_path, run, offers, transport):
    with WsmanServer(tmp_path, offers=offers) as host:
        error = run(entry(host.port, transport=transport, allowUnencrypted=True))["error"]
    assert f"offers no login by {transport}, only by {', '.join(offers)}" in error


@pytest.mark.parametrize("missing", ["host", "username", "password"])
def test_what_the_entry_lacks_is_named(run, missing):
    credential = {name: value for name, value in entry(1).items() if name != missing}
    result = run(credential)
    assert f"has no '{missing}'" in result["error"]
    assert result["exitCode"] == -1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0),
        ("port", "x"),
        ("port", 70_000),
        ("host", "a\n"),
        ("username", "a\nb"),
        ("codepage", 12345),
        ("useSsl", "maybe"),
    ],
)
def test_what_is_wrong_in_the_entry_is_named(run, field, value):
    result = run(entry(1) | {field: value})
    assert f"'{field}'" in result["error"]
    assert result["exitCode"] == -1


def test_without_an_entry_there_is_no_login(run):
    assert "has no credential for connection" in run(None)["error"]


# ---- where it goes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["169.254.169.254", "metadata.google.internal", "0x7f000001", "a@b", "a/b", "a:1", "::ffff:169.254.169.254"]
)
def test_metadata_and_what_is_no_host_are_refused(run, name):
    result = run(entry(1, host=name))
    assert result["status"] == "error"
    assert "refused" in result["error"]
    assert result["exitCode"] == -1


@pytest.mark.parametrize("params", [{"host": "127.0.0.2"}, {"connectionConfig": {"host": "127.0.0.2"}}])
def test_defect_c2_the_password_goes_to_the_entrys_host_only(host, run, params):
    result = run(entry(host.port), params)
    assert "belongs to 127.0.0.1 and is not sent to 127.0.0.2" in result["error"]
    assert host.connections == 0


def test_the_name_is_looked_up_once_and_its_judged_address_dialled(tls, run, monkeypatch):
    asked = []
    original = resolver.socket.getaddrinfo

    def look_up(name, *args, **kwargs):
        asked.append(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert run(tls.entry)["status"] == "success"
    assert [name for name in asked if name in {"localhost", b"localhost"}] == ["localhost"]
    assert len(asked) == 1


@pytest.mark.parametrize("use_ssl", [True, False])
def test_a_name_that_leads_to_the_metadata_service_is_refused(run, monkeypatch, use_ssl):
    answer = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 5985))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [answer])
    result = run(entry(5985, host="inside.example", useSsl=use_ssl))
    assert "no setting opens it" in result["error"], result


def test_the_roots_that_requests_brings_along_are_not_trusted_beside_the_owners(
    tls, authority, run, monkeypatch, tmp_path
):
    (tmp_path / "other").mkdir()
    other = throwaway_authority(tmp_path / "other", "localhost").root.read_text()
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(authority.root))
    assert "is not trusted" in run(tls.entry | {"caCertificate": other})["error"]


def test_proxies_of_the_environment_are_ignored(host, run, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    assert run(entry(host.port))["status"] == "success"


def test_a_closed_port_says_so(run):
    port = free_port()
    result = run(entry(port), name="testConnection")
    assert result["error"] == f"no connection to 127.0.0.1:{port}: Connection refused"
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]] == [("name", True), ("tcp", False)]


# ---- answers of others ----------------------------------------------------------------------------------------------


class _Other(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.heard.append(self.headers.get("Authorization"))
        status, headers, body = self.server.says
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def other():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    server.heard, server.port = [], server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


PAGE = b"<html><body>It works!</body></html>"
CHUNKED = {"Transfer-Encoding": "chunked", "WWW-Authenticate": "Negotiate"}


@pytest.mark.parametrize(
    ("transport", "says", "words"),
    [
        ("basic", (200, {"Content-Type": "text/html"}, PAGE), "with what is no WS-Management"),
        ("basic", (200, {}, b""), "with what is no WS-Management"),
        ("basic", (200, {"Content-Type": 'multipart/encrypted;boundary="x"'}, b"--x\r\n"), "with what is no WS-Management"),
        ("basic", (404, {}, PAGE), "HTTP status 404: there is no WinRM service at /wsman"),
        ("basic", (503, {}, b"busy"), "HTTP status 503: its WinRM service is not running"),
        ("basic", (500, {}, b"<a/>"), "HTTP status 500"),
        ("basic", (302, {"Location": "http://127.0.0.1:1/"}, b""), "answered with a redirect"),
        ("ntlm", (307, {"Location": "/other"}, b""), "answered with a redirect"),
        ("ntlm", (200, {}, b""), "with what is no WS-Management"),
        ("ntlm", (401, {"WWW-Authenticate": "Negotiate rubbish"}, b""), "refused the login"),
        ("ntlm", (401, {"WWW-Authenticate": "Negotiate"}, PAGE), "refused the login"),
        ("ntlm", (401, {"WWW-Authenticate": "Negotiate TlRMTVNTUAACAAAA"}, b""), "refused the login"),
        ("ntlm", (401, {}, b""), "refused the login"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_winrm_service(other, run, transport, says, words):
    other.says = says
    result = run(entry(other.port, transport=transport, allowUnencrypted=True))
    assert words in result["error"], result
    assert result["exitCode"] == -1
    assert "<" not in result["error"]


def test_an_endless_answer_is_given_up(other, run, monkeypatch):
    monkeypatch.setattr(winrm_session, "ANSWER_MAX_BYTES", 100_000)
    for status in (200, 401, 500):
        other.says = (status, {"WWW-Authenticate": "Negotiate"}, b"x" * 200_000)
        result = run(entry(other.port, transport="basic", allowUnencrypted=True))
        assert "more than 100000 bytes" in result["error"]


def test_a_login_page_in_chunks(other, run):
    other.says = (401, CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")
    assert "refused the login" in run(entry(other.port))["error"]
