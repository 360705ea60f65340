"""The test of a connection to a cluster: each step, and what it says."""

import pytest

pytestmark = pytest.mark.system


def test_the_connections_test_says_each_step(kube):
    output = kube.good("testConnection")
    assert [(step["step"], step["ok"]) for step in output["steps"]] == [
        ("name", True), ("tcp", True), ("tls", True), ("login", True), ("permission", True),
    ]  # fmt: skip
    assert output["user"] == "system:serviceaccount:ops:agent"
    assert "Kubernetes v1.32.4" in output["message"]
    assert output["stdout"] == f"Kubernetes control plane is running at https://localhost:{kube.api.port}\n"
    assert all(output["permissions"].values())
    assert "TLSv1.3, certificate checked against the kubeconfig's authority" in str(output["steps"])


def test_without_a_right_the_permission_step_fails_and_without_some_it_says_which(kube):
    kube.api.denied |= {("delete", "pods"), ("get", "pods/log")}
    permissions = kube.good("testConnection")["permissions"]
    assert {name for name, may in permissions.items() if not may} == {"deletePod", "getLogs"}
    kube.api.denied |= {("patch", "deployments"), ("patch", "deployments/scale"), ("list", "replicasets")}
    record = kube.bad("testConnection")
    assert record["error"].startswith("step 'permission' failed: logged in as system:serviceaccount:ops:agent, but")
    assert [step["ok"] for step in record["output"]["steps"]] == [True, True, True, True, False]


def test_a_wrong_token_fails_the_login_step(kube):
    record = kube.bad("testConnection", {}, {"kubeconfig": kube.api.kubeconfig(token="another-t0ken")})
    assert record["error"].startswith("step 'login' failed: ")
    assert record["output"]["steps"][-1]["step"] == "login"


def test_nobody_is_not_logged_in(kube):
    record = kube.bad("testConnection", {}, {"kubeconfig": kube.api.kubeconfig(user={"token": None})})
    assert record["error"].startswith("step 'login' failed: ")


def test_an_old_cluster_does_not_say_who_one_is(kube):
    kube.api.old = True
    output = kube.good("testConnection")
    assert output["user"] is None
    assert output["steps"][-1]["ok"]


@pytest.mark.parametrize(
    ("server", "step"),
    [("https://no-such-host.invalid", "name"), ("https://127.0.0.1:1", "tcp"), ("https://127.0.0.1:PORT", "tls")],
)
def test_the_step_that_fails_is_named(kube, server, step):
    server = server.replace("PORT", str(kube.api.port))
    ran = kube.run("testConnection", {}, {"kubeconfig": kube.api.kubeconfig(server=server)})
    assert ran.recorded["output"]["steps"][-1]["step"] == step
    assert ran.error.startswith(f"step '{step}' failed: ")
    assert len(ran.recorded["output"]["steps"]) == {"name": 1, "tcp": 2, "tls": 3}[step]
