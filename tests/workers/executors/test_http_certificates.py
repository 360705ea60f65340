"""Certificates of a connection's own: who the agent is to a server, and whom it trusts there."""

import asyncio
import json
import ssl

import pytest
from cryptography.hazmat.primitives import serialization

from easyalert.errors import CredentialError, PolicyRefused
from tests.support.raw_http import RawHttpServer
from tests.support.tls import throwaway_authority
from tests.workers.executors.http_case import TOKEN, answer, context, runner
from workers.executors.http import HttpExecutor

PASSPHRASE = "correct horse battery"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "jobs").mkdir()
    return runner(tmp_path / "jobs")


@pytest.fixture
def server_authority(tmp_path):
    (tmp_path / "server").mkdir()
    return throwaway_authority(tmp_path / "server", "localhost")


@pytest.fixture
def client(tmp_path):
    """Authority, certificate, key, encrypted key."""
    (tmp_path / "client").mkdir()
    return Client(throwaway_authority(tmp_path / "client", "the-agent"))


class Client:
    def __init__(self, authority):
        self.authority = authority
        key = serialization.load_pem_private_key(authority.chain.read_bytes(), None)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
        self.key = key.private_bytes(*form, serialization.NoEncryption()).decode()
        hidden = serialization.BestAvailableEncryption(PASSPHRASE.encode())
        self.encrypted_key = key.private_bytes(*form, hidden).decode()
        chain = authority.chain.read_text()
        self.certificate = chain[chain.index("-----BEGIN CERTIFICATE") :]


class Seeing(RawHttpServer):
    """Answers with the name in the client's certificate, which it demands or not."""

    def __init__(self, authority, clients, demands=ssl.CERT_REQUIRED, reply=None):
        tls = authority.server_context()
        tls.load_verify_locations(clients.root)
        tls.verify_mode = demands
        super().__init__(self.look, tls=tls)
        self.reply = reply
        self.seen = []

    async def look(self, _reader, writer):
        certificate = writer.get_extra_info("peercert")
        self.seen.append(dict(part[0] for part in certificate["subject"])["commonName"] if certificate else None)
        writer.write(self.reply or answer(200, b"seen"))
        await writer.drain()


def entry(authority, client, **more):
    return {
        "baseUrl": "https://SERVER",
        "caCertificate": authority.root.read_text(),
        "clientCertificate": client.certificate,
        "clientKey": client.key,
        **more,
    }


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("name", ["request", "testConnection"])
def test_the_server_sees_who_asks(run, tmp_path, server_authority, client, encrypted, name):
    more = {"clientKey": client.encrypted_key, "clientKeyPassphrase": PASSPHRASE} if encrypted else {}
    server = Seeing(server_authority, client.authority)
    result = run(server, {}, entry(server_authority, client, **more), name=name)
    assert result["status"] == "success", result
    assert set(server.seen) == {"the-agent"}
    assert list((tmp_path / "jobs").iterdir()) == []


def test_beside_a_token(run, server_authority, client):
    server = Seeing(server_authority, client.authority)
    assert run(server, {"url": "/x"}, entry(server_authority, client, token=TOKEN))["status"] == "success"
    assert f"authorization: bearer {TOKEN}" in server.requests[0].lower()


def test_without_one_the_server_refuses(run, server_authority, client):
    server = Seeing(server_authority, client.authority)
    ca = {"baseUrl": "https://SERVER", "caCertificate": server_authority.root.read_text()}
    result = run(server, {}, ca)
    assert result["status"] == "error"
    assert "localhost" in result["error"]
    assert server.seen == []


def test_an_authority_of_the_connections_own_is_the_only_one(run, server_authority, client):
    server = Seeing(server_authority, client.authority, ssl.CERT_OPTIONAL)
    ca = {"baseUrl": "https://SERVER", "caCertificate": server_authority.root.read_text()}
    assert run(server, {}, ca)["status"] == "success"
    assert "is not trusted" in run(server, {}, {**ca, "caCertificate": client.authority.root.read_text()})["error"]
    assert "is not trusted" in run(server, {}, {"baseUrl": "https://SERVER"})["error"]


def test_a_job_brings_none_along(run, server_authority, client):
    """Neither whom to trust nor who we are is a job's to say."""
    server = Seeing(server_authority, client.authority, ssl.CERT_OPTIONAL)
    job = entry(server_authority, client)
    result = run(server, {**job, "url": "/", "connectionConfig": job}, {"note": "nothing"})
    assert "is not trusted" in result["error"]
    assert server.seen == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"clientKeyPassphrase": "wrong"}, "'clientKeyPassphrase'"),
        ({}, "'clientKeyPassphrase'"),
        ({"clientKeyPassphrase": "x" * 2000}, "'clientKeyPassphrase'"),
        ({"clientKey": "no key"}, "'clientKey'"),
        ({"clientCertificate": "no certificate"}, "'clientCertificate'"),
        ({"clientKey": None}, "'clientKey'"),
        ({"clientCertificate": None}, "'clientCertificate'"),
        ({"caCertificate": "nobody"}, "'caCertificate'"),
        ({"clientKey": "k" * 300_000}, "'clientKey'"),
    ],
)
def test_what_does_not_fit_together_is_named_and_not_shown(run, server_authority, client, more, says):
    server = Seeing(server_authority, client.authority)
    with pytest.raises(CredentialError, match="conn-1") as caught:
        run(server, {}, entry(server_authority, client, **{"clientKey": client.encrypted_key, **more}))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300
    assert server.connections == 0


def test_the_key_of_another_certificate(run, tmp_path, server_authority, client):
    (tmp_path / "other").mkdir()
    other = Client(throwaway_authority(tmp_path / "other", "somebody else"))
    server = Seeing(server_authority, client.authority)
    with pytest.raises(CredentialError, match="'clientKey' of connection 'conn-1' is not the key of"):
        run(server, {}, entry(server_authority, client, clientKey=other.key))


@pytest.mark.parametrize("base", ["https://elsewhere.example", None])
def test_it_goes_to_its_own_origin_only(run, server_authority, client, base):
    """Defect C2: to a server that asks for it, it says who the agent is."""
    server = Seeing(server_authority, client.authority)
    with pytest.raises(PolicyRefused, match="conn-1"):
        run(server, {"url": "https://SERVER/"}, entry(server_authority, client, baseUrl=base))
    assert server.connections == 0


def test_a_redirect_to_another_origin_sees_neither(tmp_path, server_authority, client, monkeypatch):
    """It is met as a stranger: with the machine's trust, and without a certificate."""
    monkeypatch.setattr("easyalert.netguard.transport.system_trust", server_authority.client_context)
    second = Seeing(server_authority, client.authority, ssl.CERT_OPTIONAL)

    async def job():
        async with second.running() as there:
            first = Seeing(
                server_authority, client.authority, reply=answer(302, Location=f"https://localhost:{there}/")
            )
            async with first.running() as here:
                vault = json.loads(json.dumps(entry(server_authority, client)).replace("SERVER", f"localhost:{here}"))
                ctx = context(tmp_path, {"url": "/", "followRedirects": True}, vault)
                return await HttpExecutor().run(ctx, "request"), first

    result, first = asyncio.run(job())
    assert result.status == "success", result
    assert (first.seen, second.seen) == (["the-agent"], [None])


def test_key_and_passphrase_are_redacted(run, server_authority, client):
    async def tell(_reader, writer):
        said = json.dumps({"key": client.encrypted_key, "passphrase": PASSPHRASE})
        writer.write(answer(body=said.encode(), Content_Type="application/json"))
        await writer.drain()

    tls = server_authority.server_context()
    more = {"clientKey": client.encrypted_key, "clientKeyPassphrase": PASSPHRASE}
    result = run(RawHttpServer(tell, tls=tls), {}, entry(server_authority, client, **more))
    assert result["status"] == "success"
    assert PASSPHRASE not in json.dumps(result)
    assert client.encrypted_key.splitlines()[2] not in json.dumps(result)
