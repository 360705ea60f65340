"""TLS of the database executor: the modes of contract 3.10, authorities, client certificates, and who is told a password."""

import pytest

from tests.support.database_servers import PASSWORD
from tests.support.tls import throwaway_authority

pytestmark = pytest.mark.system


def root(authority):
    return authority.root.read_text()


def client_files(server):
    text = server.clients.chain.read_text()
    cut = text.index("-----BEGIN CERTIFICATE-----")
    return {"clientKey": text[:cut], "clientCertificate": text[cut:]}


@pytest.fixture
def step(ask):
    """The TLS step of a test, and the test's result."""

    def run(server, **entry):
        recorded = ask(server, action="testConnection", entry=entry)
        steps = {step["step"]: step for step in recorded["output"]["steps"]}
        return steps.get("tls"), recorded

    return run


def test_defect_c13_the_default_says_that_nobody_was_verified(server, good, step):
    assert good(server, "SELECT 1")["tls"] == "not verified"
    tls, recorded = step(server)
    assert recorded["status"] == "success"
    assert tls["ok"] is True
    assert "the certificate was not verified" in tls["detail"]
    assert "caCertificate" in tls["detail"]


def test_defect_c13_with_an_authority_the_default_verifies(server, good, ask, step, tmp_path_factory):
    ours = root(server.authority)
    assert good(server, "SELECT 1", entry={"caCertificate": ours})["tls"] == "verified"
    tls, recorded = step(server, caCertificate=ours)
    assert recorded["status"] == "success"
    assert tls["detail"] == "TLSv1.3, certificate verified"
    foreign = root(throwaway_authority(tmp_path_factory.mktemp("foreign"), "localhost"))
    recorded = ask(server, "SELECT 1", entry={"caCertificate": foreign})
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert "certificate" in recorded["error"]
    tls, recorded = step(server, caCertificate=foreign)
    assert (tls["ok"], recorded["status"]) == (False, "error")


@pytest.mark.parametrize(
    ("mode", "host", "verified"),
    [
        ("require", "127.0.0.1", "not verified"),
        ("verify-ca", "127.0.0.1", "verified"),
        ("VERIFY_CA", "localhost", "verified"),
        ("verify-full", "localhost", "verified"),
        ("anything", "localhost", "verified"),
        ("verify-full", "127.0.0.1", None),
        ("anything", "127.0.0.1", None),
    ],
)
def test_the_modes(server, ask, mode, host, verified):
    """The certificate is for `localhost`; only full verification looks at the name."""
    entry = {"sslMode": mode, "host": host, "caCertificate": root(server.authority)}
    for action in ("executeQuery", "testConnection"):
        recorded = ask(server, "SELECT 1", action=action, entry=entry)
        if verified is None:
            assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
            assert any(word in recorded["error"].lower() for word in ("match", "mismatch")), recorded["error"]
        else:
            assert recorded["status"] == "success", recorded
            assert recorded["output"].get("tls", verified) == verified


def test_without_authority_full_verification_wants_one_the_machine_trusts(server, ask):
    recorded = ask(server, "SELECT 1", entry={"sslMode": "verify-full"})
    assert recorded["status"] == "error"
    assert "certificate" in recorded["error"]


def test_disabled_is_not_encrypted(server, good, step):
    query = {
        "postgresql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        "mysql": "SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'",
    }[server.kind]
    output = good(server, query, entry={"sslMode": "disable"})
    assert "tls" not in output
    assert not output["rows"][0][0]
    assert good(server, query)["rows"][0][0]
    tls, recorded = step(server, sslMode="disable")
    assert (tls, recorded["status"]) == (None, "success")


def test_a_client_certificate(server, good, ask):
    entry = {"username": "certified", "password": PASSWORD if server.kind == "mysql" else "x"}
    assert ask(server, "SELECT 1", entry=entry)["status"] == "error"
    output = good(server, "SELECT current_user", entry=entry | client_files(server))
    assert output["rows"][0][0].startswith("certified")
    good(server, action="testConnection", entry=entry | client_files(server))


def test_a_client_certificate_that_is_none(server, ask):
    entry = client_files(server) | {"clientKey": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}
    recorded = ask(server, "SELECT 1", entry=entry)
    assert recorded["status"] == "error"
    assert "BEGIN" not in recorded["error"]
    assert "AAAA" not in str(recorded)
