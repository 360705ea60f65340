"""The kubernetes executor against an API server on a socket: the contract's actions (contract 3.4)."""

import logging
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from easyalert.errors import Fault, InvalidParameter
from tests.support.kube_api import TOKEN
from tests.support.waiting import eventually
from workers.executors.kubernetes import Kubernetes
from workers.sdk.executor import parse
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system

CLOSED = """{"kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x"}}],
"clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}]}"""
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n"


class TestContract(ExecutorContract):
    """What every executor promises. The samples meet a closed port."""

    executor = Kubernetes
    samples: ClassVar = {
        "restartDeployment": {"deployment": "web"},
        "scaleDeployment": {"deployment": "web", "replicas": 2},
        "rollbackDeployment": {"deployment": "web"},
        "restartStatefulSet": {"statefulSet": "db"},
        "scaleStatefulSet": {"statefulSet": "db", "replicas": 2},
        "rollbackStatefulSet": {"statefulSet": "db"},
        "restartDaemonSet": {"daemonSet": "logs"},
        "rollbackDaemonSet": {"daemonSet": "logs"},
        "rolloutStatus": {"deployment": "web"},
        "deletePod": {"pod": "web-1"},
        "getLogs": {"pod": "web-1"},
        "applyManifest": {"manifest": MAP},
        "testConnection": {},
    }

    def harness(self, tmp_path):
        return Harness(self.executor(), tmp_path, credential={"kubeconfig": CLOSED})


# ---- changes --------------------------------------------------------------------------------------------------------


def test_a_restart_gives_the_pods_a_new_template(kube):
    before = kube.workload()
    assert kube.good("restartDeployment", {"deployment": "web"}) == {
        "stdout": "deployment.apps/web restarted\n", "stderr": "", "truncated": False,
    }  # fmt: skip
    after = kube.now()
    assert "kubectl.kubernetes.io/restartedAt" in after["spec"]["template"]["metadata"]["annotations"]
    assert after["spec"]["template"]["spec"] == before["spec"]["template"]["spec"]


@pytest.mark.parametrize("replicas", [0, 7, "5", 10_000])
def test_scaling(kube, replicas):
    kube.workload()
    output = kube.good("scaleDeployment", {"deployment": "web", "replicas": replicas})
    assert output["stdout"] == "deployment.apps/web scaled\n"
    assert kube.now()["spec"]["replicas"] == int(replicas)


def test_a_pod_is_deleted_with_the_grace_that_is_asked_for(kube):
    for name, params, query in (("a", {}, {}), ("b", {"gracePeriod": "0"}, {"gracePeriodSeconds": "0"})):
        kube.pod(name)
        output = kube.good("deletePod", {"pod": name, **params})
        assert output["stdout"] == f'pod "{name}" deleted\n'
        assert kube.api.asked("DELETE")[-1]["query"] == query


def test_the_namespace_is_the_jobs_then_the_connections_then_default(kube):
    for space in ("prod", "default"):
        kube.workload(space=space)
    for params, space in (
        ({}, "default"), ({"namespace": ""}, "default"), ({"namespace": "prod"}, "prod"),
        ({"connectionConfig": {"namespace": "prod"}}, "prod"),
        ({"namespace": "default", "connectionConfig": {"namespace": "prod"}}, "default"),
    ):  # fmt: skip
        kube.good("restartDeployment", {"deployment": "web", **params})
        assert kube.api.asked("PATCH")[-1]["path"] == f"/apis/apps/v1/namespaces/{space}/deployments/web"


def test_defect_d14_names_may_hold_dots(kube):
    kube.pod("node.example.com", b"text")
    assert kube.good("getLogs", {"pod": "node.example.com"})["stdout"] == "text"


@pytest.mark.parametrize(
    "name", ["web\n", "Web", "-web", "web-", "a..b", ".a", "a/b", "../a", "wéb", "a" * 254, "", "a b", "a?x=1"]
)
@pytest.mark.parametrize(
    ("action", "field"),
    [
        ("restartDeployment", "deployment"),
        ("deletePod", "pod"),
        ("restartStatefulSet", "statefulSet"),
        ("restartDaemonSet", "daemonSet"),
    ],
)
def test_defect_c21_a_name_is_matched_as_a_whole(action, field, name):
    with pytest.raises(InvalidParameter) as caught:
        parse(Kubernetes.actions[action].parameters, {field: name})
    assert caught.value.parameter == field


@pytest.mark.parametrize("field", ["namespace", "container"])
def test_defect_c21_other_names_too(kube, field):
    record = kube.bad("getLogs", {"pod": "web", field: "prod\n"}, code=-1)
    assert field in record["error"]
    assert kube.api.seen == []


@pytest.mark.parametrize("replicas", [-1, 10_001, 1.5, "many", True, [3], "3\n4"])
def test_replicas_are_0_to_10000(replicas):
    with pytest.raises(InvalidParameter) as caught:
        parse(Kubernetes.actions["scaleDeployment"].parameters, {"deployment": "web", "replicas": replicas})
    assert caught.value.parameter == "replicas"


def test_defect_a22_numbers_may_be_texts(kube):
    kube.workload()
    kube.pod("web-1", b"1\n2\n3\n")
    kube.good("scaleDeployment", {"deployment": "web", "replicas": "2", "timeout": "20"})
    assert kube.good("getLogs", {"pod": "web-1", "tailLines": "2", "sinceSeconds": "60"})["stdout"] == "2\n3\n"


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_said_as_kubectl_does(kube):
    record = kube.bad("restartDeployment", {"deployment": "nope"})
    assert record["output"]["stderr"] == 'Error from server (NotFound): deployments.apps "nope" not found\n'
    assert record["error"].startswith('deployments.apps "nope" not found (404 NotFound)')
    assert f"https://localhost:{kube.api.port}, default" in record["error"]


def test_what_is_forbidden_names_user_and_right(kube):
    kube.workload()
    kube.api.denied.add(("patch", "deployments/scale"))
    record = kube.bad("scaleDeployment", {"deployment": "web", "replicas": 1})
    assert 'cannot patch resource "deployments/scale"' in record["error"]
    assert "RBAC has to allow it" in record["error"]


def test_a_wrong_token_is_said(kube):
    record = kube.bad("deletePod", {"pod": "a"}, {"kubeconfig": kube.api.kubeconfig(token="another-t0ken")})
    assert "another-t0ken" not in str(record)
    assert record["output"]["stderr"] == "error: You must be logged in to the server (Unauthorized)\n"
    assert "deliver a new kubeconfig" in record["error"]


def test_what_is_invalid_is_said_with_the_servers_words(kube):
    kube.workload()
    kube.api.fail(
        "PATCH", "scale", 422, "Invalid", 'Scale "web" is invalid: spec.replicas: Invalid value: 3: not today'
    )
    assert "not today (422 Invalid)" in kube.bad("scaleDeployment", {"deployment": "web", "replicas": 3})["error"]


def test_a_conflict_is_tried_again_where_that_is_harmless(kube):
    kube.workload()
    kube.api.fail("PATCH", "scale", 409, "Conflict", times=2)
    kube.good("scaleDeployment", {"deployment": "web", "replicas": 3})
    assert len(kube.api.asked("PATCH")) == 3
    kube.api.fail("PATCH", "deployments/web$", 409, "Conflict", "the object has been modified")
    assert (
        "the object has been modified (409 Conflict)" in kube.bad("restartDeployment", {"deployment": "web"})["error"]
    )


def test_an_overloaded_server_gets_the_pause_it_asks_for(kube):
    kube.workload()
    kube.api.fail("PATCH", "web$", 429, "TooManyRequests", times=2, headers={"Retry-After": "0"})
    kube.good("restartDeployment", {"deployment": "web"})
    assert len(kube.api.asked("PATCH")) == 3


def test_a_pause_that_is_too_long_is_not_waited_for(kube):
    kube.workload()
    kube.api.fail("PATCH", "web$", 429, "TooManyRequests", times=9, headers={"Retry-After": "3600"})
    assert "overloaded" in kube.bad("restartDeployment", {"deployment": "web"})["error"]
    assert len(kube.api.asked("PATCH")) == 1


@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_change_is_not_repeated_when_nobody_knows_whether_it_was_done(kube, status):
    kube.workload()
    kube.api.fail("PATCH", "web$", status, "InternalError")
    kube.bad("restartDeployment", {"deployment": "web"})
    assert len(kube.api.asked("PATCH")) == 1


def test_defect_a18_a_long_refusal_is_cut_in_the_error_and_whole_in_the_output(kube):
    kube.api.fail("DELETE", "pods", 422, "Invalid", "long " * 10_000)
    record = kube.bad("deletePod", {"pod": "a"})
    assert len(record["error"]) <= 500
    assert record["output"]["stderr"].count("long ") == 10_000


@pytest.mark.parametrize(
    "body", [b"<html>bad gateway</html>", b"", b"\xff\xfe", b'{"kind": 7}', b"[" * 100_000, b"null"]
)
@pytest.mark.parametrize("status", [200, 403, 502])
def test_an_answer_that_is_no_kubernetes_is_an_error(kube, status, body):
    kube.api.fail("GET", "deployments/web", status, body=body, times=9)
    record = kube.bad("restartDeployment", {"deployment": "web"}, timeout_s=10)
    assert "Error" not in record["error"].split(" ")[0]


def test_a_redirect_is_not_followed(kube):
    kube.workload()
    kube.api.fail("GET", "web", 307, body=b"", headers={"Location": f"https://localhost:{kube.api.port}/version"})
    assert "redirect" in kube.bad("restartDeployment", {"deployment": "web"})["error"]
    assert kube.api.asked("GET", "version") == []


def test_an_answer_without_end_is_given_up(kube, monkeypatch):
    monkeypatch.setattr("workers.sdk.kubernetes_client.ANSWER_MAX_BYTES", 1_000_000)

    def endless(handler):
        handler.begin("application/json")
        while not kube.api.over.is_set():
            handler.piece(b"[" * 65_536)

    kube.api.fail("GET", "web", 200, body=endless)
    assert "sent more than 1000000 bytes" in kube.bad("restartDeployment", {"deployment": "web"})["error"]


# ---- time-out and cancel --------------------------------------------------------------------------------------------


def hang(kube):
    def held(handler):
        kube.api.held.append(handler.path)
        kube.api.over.wait(60)

    return held


def test_a_time_out_says_that_it_may_have_taken_effect(kube):
    kube.workload()
    kube.api.fail("PATCH", "web", 200, body=hang(kube))
    ran = kube.run("restartDeployment", {"deployment": "web", "timeout": 1})
    assert ran.error == "timed out after 1 seconds: the change may have taken effect"
    assert (ran.result.outcome, ran.result.exit_code, ran.result.fault) == ("timed_out", -1, Fault.TARGET)


def test_the_jobs_own_limit_is_kept(kube):
    kube.workload()
    kube.api.fail("PATCH", "web", 200, body=hang(kube))
    ran = kube.run("restartDeployment", {"deployment": "web", "timeout": 50}, timeout_s=1)
    assert "timed out after 1 seconds: the change may have taken effect" in ran.error


def test_a_cancel_ends_the_connection(kube):
    kube.workload()
    kube.api.fail("PATCH", "web", 200, body=hang(kube))
    ran = kube.run("restartDeployment", {"deployment": "web"}, cancelled=lambda: bool(kube.api.held))
    assert ran.error == "cancelled: the change may have taken effect"
    assert (ran.result.outcome, ran.result.exit_code) == ("cancelled", -1)
    eventually(
        lambda: not any(thread.name == "kubernetes" for thread in threading.enumerate()), what="the thread's end"
    )


def test_a_server_that_does_not_answer_the_dial_is_named(kube):
    record = kube.bad("deletePod", {"pod": "a"}, {"kubeconfig": kube.api.kubeconfig(server="https://127.0.0.1:1")})
    assert "127.0.0.1:1" in record["error"]


# ---- what is left behind --------------------------------------------------------------------------------------------


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_secret_and_no_url_is_logged_and_no_file_is_left(kube, caplog, capfd, tmp_path):
    caplog.set_level(logging.DEBUG)
    kube.workload()
    credential = {"kubeconfig": kube.api.kubeconfig(user=kube.api.by_certificate() | {"token": TOKEN})}
    before = open_files()
    for action in ("testConnection", "restartDeployment"):
        kube.good(action, {"deployment": "web"}, credential)
    said = caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in said
    assert "/apis/" not in said
    assert "BEGIN" not in said
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: open_files() <= before + 4, what="closed connections")
