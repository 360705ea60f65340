"""Connections to a cluster: as whom, over which TLS, to which address."""

import base64
import json
import ssl
import threading

import pytest
import yaml

from tests.support.kube_api import TOKEN, KubeApi
from tests.support.kube_case import KubeCase
from tests.support.tls import throwaway_authority

pytestmark = pytest.mark.system


def encoded(path):
    return base64.b64encode(path.read_bytes()).decode()


# ---- as whom --------------------------------------------------------------------------------------------------------


def test_a_token_a_certificate_and_a_user_by_name(kube):
    assert kube.good("testConnection")["user"] == "system:serviceaccount:ops:agent"
    by_certificate = {"kubeconfig": kube.api.kubeconfig(user=kube.api.by_certificate())}
    assert kube.good("testConnection", {}, by_certificate)["user"] == "admin-by-certificate"
    kube.api.tokens["Basic " + base64.b64encode(b"ann:pass-w0rd-of-ann").decode()] = "ann"
    by_name = {
        "kubeconfig": kube.api.kubeconfig(user={"token": None, "username": "ann", "password": "pass-w0rd-of-ann"})
    }
    assert kube.good("testConnection", {}, by_name)["user"] == "ann"


def test_impersonation_is_kept_to(kube):
    assert (
        kube.good("testConnection", {}, {"kubeconfig": kube.api.kubeconfig(user={"as": "viewer"})})["user"] == "viewer"
    )


def test_the_token_is_redacted_although_the_kubeconfig_holds_it_in_another_form(kube):
    key = base64.b64decode(kube.api.by_certificate()["client-key-data"]).decode()
    kube.pod("echo", f"token {TOKEN}\n{key}\n".encode())
    credential = {"kubeconfig": kube.api.kubeconfig(user=kube.api.by_certificate() | {"token": TOKEN})}
    output = kube.run("getLogs", {"pod": "echo"}, credential).recorded["output"]
    assert "token [REDACTED]" in output["stdout"]
    assert not any(line in output["stdout"] for line in key.splitlines()[1:-1])
    assert output["redactions"] >= 2


# ---- TLS ------------------------------------------------------------------------------------------------------------


def test_the_certificate_has_to_be_the_authoritys(kube, tmp_path):
    (tmp_path / "other").mkdir()
    other = throwaway_authority(tmp_path / "other", "localhost")
    for authority in (encoded(other.root), None):
        record = kube.bad(
            "deletePod",
            {"pod": "a"},
            {"kubeconfig": kube.api.kubeconfig(cluster={"certificate-authority-data": authority})},
        )
        assert "the certificate of https://localhost" in record["error"]
    assert kube.api.seen == []


def test_the_certificate_has_to_have_the_name(kube):
    address = f"https://127.0.0.1:{kube.api.port}"
    assert "127.0.0.1" in kube.bad("testConnection", {}, {"kubeconfig": kube.api.kubeconfig(server=address)})["error"]
    named = kube.api.kubeconfig(server=address, cluster={"tls-server-name": "localhost"})
    assert "TLSv1.3" in str(kube.good("testConnection", {}, {"kubeconfig": named})["steps"])


def test_only_the_kubeconfig_may_leave_the_check_out_and_the_test_says_it(kube, recwarn):
    loose = kube.api.kubeconfig(
        server=f"https://127.0.0.1:{kube.api.port}",
        cluster={"certificate-authority-data": None, "insecure-skip-tls-verify": True},
    )
    output = kube.good("testConnection", {}, {"kubeconfig": loose})
    assert "the certificate is NOT checked" in output["message"]
    assert "NOT checked" in next(step["detail"] for step in output["steps"] if step["step"] == "tls")
    assert [str(warning.message) for warning in recwarn if "nsecure" in str(warning.message)] == []
    params = {"insecure-skip-tls-verify": True, "connectionConfig": {"insecure-skip-tls-verify": True}}
    kube.bad("testConnection", params, {"kubeconfig": kube.api.kubeconfig(server=f"https://127.0.0.1:{kube.api.port}")})


def test_a_server_without_tls_gets_nothing(kube, tmp_path):
    import socket

    heard = []
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer():
            connection, _ = plain.accept()
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        record = kube.bad(
            "deletePod",
            {"pod": "a"},
            {"kubeconfig": kube.api.kubeconfig(server=f"https://127.0.0.1:{plain.getsockname()[1]}")},
        )
        thread.join(10)
    assert "no TLS connection" in record["error"]
    assert TOKEN.encode() not in heard[0]


# ---- where to -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "server",
    [
        "https://169.254.169.254",
        "https://metadata.google.internal",
        "https://[fd00:ec2::254]",
        "https://2130706433",
        "https://127.1",
    ],
)
def test_metadata_and_disguised_addresses_stay_closed(kube, server):
    record = kube.bad("testConnection", {}, {"kubeconfig": kube.api.kubeconfig(server=server)}, code=-1)
    assert "refused" in record["error"] or "metadata" in record["error"]


def test_proxies_of_the_environment_are_not_used(kube, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    kube.good("testConnection")


def test_the_context_is_the_jobs_else_the_current_one(kube):
    document = json.loads(kube.api.kubeconfig())
    document["contexts"].append({"name": "other", "context": {"cluster": "closed", "user": "u"}})
    document["clusters"].append({"name": "closed", "cluster": {"server": "https://127.0.0.1:1"}})
    text = yaml.safe_dump(document)
    kube.good("testConnection", {}, {"kubeconfig": text})
    assert "127.0.0.1:1" in kube.bad("testConnection", {"context": "other"}, {"kubeconfig": text})["error"]
    assert (
        "127.0.0.1:1"
        in kube.bad("testConnection", {"connectionConfig": {"context": "other"}}, {"kubeconfig": text})["error"]
    )
    assert (
        "no context of the name"
        in kube.bad("testConnection", {"context": "nope"}, {"kubeconfig": text}, code=-1)["error"]
    )
    fixed = {"kubeconfig": text, "context": "here"}
    assert "another than the one" in kube.bad("testConnection", {"context": "other"}, fixed, code=-1)["error"]


def test_a_client_that_must_show_a_certificate_is_told_so(tmp_path):
    with KubeApi(tmp_path) as strict:
        strict.server.tls.verify_mode = ssl.CERT_REQUIRED
        kube = KubeCase(strict, tmp_path)
        record = kube.bad("deletePod", {"pod": "a"})
        assert "TLS connection" in record["error"] or "broke off" in record["error"]
        kube.good("testConnection", {}, {"kubeconfig": strict.kubeconfig(user=strict.by_certificate())})
