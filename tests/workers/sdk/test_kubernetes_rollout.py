"""Rollouts: undo, status and waiting, of deployments, stateful sets and daemon sets, while they change."""

import pytest

from tests.support.kube_case import KIND, template

pytestmark = pytest.mark.system

KINDS = [
    ("Deployment", "deployments", "deployment"),
    ("StatefulSet", "statefulsets", "statefulSet"),
    ("DaemonSet", "daemonsets", "daemonSet"),
]


def image(item):
    return item["spec"]["template"]["spec"]["containers"][0]["image"]


@pytest.mark.parametrize(("kind", "plural", "field"), KINDS)
class TestEveryKind:
    def test_undo_brings_back_the_revision_before_the_present(self, kube, kind, plural, field):
        kube.workload(plural, images=("web:1", "web:2", "web:3"))
        output = kube.good(f"rollback{kind}", {field: "web"})
        assert output["stdout"] == f"{kind.lower()}.apps/web rolled back\n"
        assert image(kube.now(plural)) == "web:2"
        assert kube.now(plural)["spec"]["template"] == template("web:2")  # without the label of the replica set

    def test_undo_brings_back_the_revision_that_is_named(self, kube, kind, plural, field):
        kube.workload(plural, images=("web:1", "web:2", "web:3"))
        kube.good(f"rollback{kind}", {field: "web", "revision": "1"})
        assert image(kube.now(plural)) == "web:1"

    def test_undo_to_the_present_revision_changes_nothing(self, kube, kind, plural, field):
        kube.workload(plural, images=("web:1", "web:2"))
        output = kube.good(f"rollback{kind}", {field: "web", "revision": 2})
        assert "skipped rollback (current template already matches revision 2)" in output["stdout"]
        assert kube.api.asked("PATCH") == []

    def test_undo_to_what_never_was_is_refused(self, kube, kind, plural, field):
        kube.workload(plural)
        assert "there is no revision before" in kube.bad(f"rollback{kind}", {field: "web"})["error"]
        assert (
            "unable to find specified revision 9" in kube.bad(f"rollback{kind}", {field: "web", "revision": 9})["error"]
        )
        assert kube.api.asked("PATCH") == []

    def test_revisions_of_another_owner_with_the_same_labels_do_not_count(self, kube, kind, plural, field):
        kube.workload(plural, images=("web:1", "web:2"))
        kube.workload(plural, "other", images=("bad:1", "bad:2", "bad:3"))
        kube.good(f"rollback{kind}", {field: "web"})
        assert image(kube.now(plural)) == "web:1"

    def test_a_restart_waits_for_the_end_and_says_the_progress(self, kube, kind, plural, field):
        kube.workload(plural)
        kube.state.frozen.add("web")  # until it is watched, however slow this machine is

        def watched(handler):
            kube.state.frozen.clear()
            handler.watch(KIND[plural], "default")

        kube.api.fail("WATCH", plural, 200, body=watched)
        lines = kube.good(f"restart{kind}", {field: "web", "wait": True})["stdout"].splitlines()
        assert lines[0] == f"{kind.lower()}.apps/web restarted"
        assert len(lines) > 2
        assert any(word in lines[-1] for word in ("successfully rolled out", "rolling update complete"))
        assert len(set(lines)) == len(lines)

    def test_the_status_says_how_far_it_is_without_waiting(self, kube, kind, plural, field):
        kube.workload(plural)
        assert kube.good("rolloutStatus", {field: "web"})["complete"] is True
        kube.state.frozen.add("web")
        kube.good(f"restart{kind}", {field: "web"})
        output = kube.good("rolloutStatus", {field: "web"})
        assert output["complete"] is False
        assert "spec update to be observed" in output["stdout"]

    def test_waiting_for_what_does_not_move_is_a_time_out_that_says_what_goes_on(self, kube, kind, plural, field):
        kube.workload(plural)
        kube.state.frozen.add("web")
        ran = kube.run(f"restart{kind}", {field: "web", "wait": True, "timeout": 3})
        assert ran.result.outcome == "timed_out"
        assert "the cluster has accepted the change and its rollout goes on" in ran.error
        assert "restarted" in ran.recorded["output"]["stdout"]
        assert "to be observed" in ran.recorded["output"]["stdout"]


def test_an_object_that_has_not_changed_for_long_can_be_watched(kube):
    kube.workload()
    kube.state.frozen.add("web")
    kube.good("restartDeployment", {"deployment": "web"})
    kube.state.forget()
    ran = kube.run("rolloutStatus", {"deployment": "web", "wait": True, "timeout": 3})
    assert ran.result.outcome == "timed_out"
    assert len([one for one in kube.api.asked("GET") if one["query"].get("watch")]) == 1


@pytest.mark.parametrize(("kind", "plural", "field"), KINDS[:2])
def test_scaling_waits_too(kube, kind, plural, field):
    kube.workload(plural)
    lines = kube.good(f"scale{kind}", {field: "web", "replicas": 5, "wait": True})["stdout"].splitlines()
    assert len(lines) > 1
    assert kube.now(plural)["status"]["observedGeneration"] == 2


def test_who_may_not_watch_waits_too(kube):
    kube.workload()
    kube.api.denied |= {("watch", "deployments"), ("list", "deployments")}
    lines = kube.good("restartDeployment", {"deployment": "web", "wait": True})["stdout"].splitlines()
    assert lines[-1] == 'deployment "web" successfully rolled out'


def test_a_daemon_set_cannot_be_scaled(kube):
    assert "has no action" in kube.run("scaleDaemonSet", {"daemonSet": "web", "replicas": 1}).error


def test_undo_takes_the_annotations_of_the_revision_and_keeps_the_deployments_own(kube):
    kube.workload(images=("web:1",))
    item = kube.now()
    item["metadata"]["annotations"]["kubernetes.io/change-cause"] = "the second"
    item["spec"]["template"] = template("web:2")
    kube.state.put(KIND["deployments"], "default", item)
    for _ in range(20):
        kube.state.tick()
    kube.good("rollbackDeployment", {"deployment": "web"})
    annotations = kube.now()["metadata"]["annotations"]
    assert "kubernetes.io/change-cause" not in annotations
    assert "kept" not in annotations
    assert annotations["kubectl.kubernetes.io/last-applied-configuration"] == "{}"


def test_a_paused_deployment_is_neither_restarted_nor_undone(kube):
    kube.workload(images=("web:1", "web:2"), paused=True)
    assert "it is paused" in kube.bad("restartDeployment", {"deployment": "web"})["error"]
    assert "paused deployment" in kube.bad("rollbackDeployment", {"deployment": "web"})["error"]
    assert kube.api.asked("PATCH") == []


def test_a_rollout_that_fails_is_an_error(kube):
    kube.workload()
    kube.state.frozen.add("web")
    item = kube.now()
    item["status"]["conditions"] = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    kube.state.put(KIND["deployments"], "default", item)
    record = kube.bad("rolloutStatus", {"deployment": "web", "wait": True})
    assert record["error"] == 'deployment "web" exceeded its progress deadline'


def test_what_is_deleted_meanwhile_is_not_waited_for(kube):
    kube.workload()
    kube.state.frozen.add("web")
    kube.good("restartDeployment", {"deployment": "web"})
    kube.api.fail(
        "WATCH",
        "deployments$",
        200,
        body=lambda handler: (
            kube.state.remove(KIND["deployments"], "default", "web"),
            handler.watch(KIND["deployments"], "default"),
        ),
    )
    assert "was deleted while" in kube.bad("rolloutStatus", {"deployment": "web", "wait": True})["error"]


def test_a_watch_that_the_server_has_forgotten_is_begun_again(kube):
    kube.workload()
    kube.state.frozen.add("web")

    def forgotten(handler):
        kube.state.forget()
        handler.watch(KIND["deployments"], "default")

    def at_last(handler):
        kube.state.frozen.clear()
        handler.watch(KIND["deployments"], "default")

    kube.api.fail("WATCH", "deployments$", 200, body=forgotten)
    kube.api.fail("WATCH", "deployments$", 410, "Expired")
    kube.api.fail("WATCH", "deployments$", 200, body=at_last)
    lines = kube.good("restartDeployment", {"deployment": "web", "wait": True})["stdout"].splitlines()
    assert lines[-1] == 'deployment "web" successfully rolled out'
    watched = [one for one in kube.api.asked("GET") if one["query"].get("watch")]
    assert len(watched) >= 3


def test_a_watch_that_breaks_off_is_an_error_that_says_so(kube):
    kube.workload()
    kube.state.frozen.add("web")

    def cut(handler):
        handler.begin("application/json")
        handler.piece(b'{"type": "MODIF')
        handler.close_connection = True

    kube.api.fail("WATCH", "deployments$", 200, body=cut)
    record = kube.bad("restartDeployment", {"deployment": "web", "wait": True})
    assert "broke off" in record["error"]
    assert "restarted" in record["output"]["stdout"]


def test_a_cancel_ends_the_watch_and_says_that_the_rollout_goes_on(kube):
    kube.workload()
    kube.state.frozen.add("web")
    ran = kube.run("restartDeployment", {"deployment": "web", "wait": True}, cancelled=lambda: bool(kube.api.held))
    assert ran.error.startswith("cancelled: the cluster has accepted the change")
    assert ran.result.outcome == "cancelled"


def test_bookmarks_are_no_news(kube):
    kube.workload()
    kube.state.frozen.add("web")
    ran = kube.run("restartDeployment", {"deployment": "web", "wait": True, "timeout": 3})
    assert len(ran.recorded["output"]["stdout"].splitlines()) == 2


@pytest.mark.parametrize("params", [{}, {"deployment": "a", "daemonSet": "b"}, {"deployment": ""}])
def test_the_status_needs_exactly_one_name(kube, params):
    assert "exactly one" in kube.bad("rolloutStatus", params, code=-1)["error"]


def test_a_strategy_without_rollout_is_said(kube):
    kube.workload("statefulsets", updateStrategy={"type": "OnDelete"})
    assert "only available for the RollingUpdate strategy" in kube.bad("rolloutStatus", {"statefulSet": "web"})["error"]


def test_a_partitioned_rollout_ends_at_its_partition(kube):
    kube.workload("statefulsets", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    assert "partitioned roll out complete: 3 new pods" in kube.good("rolloutStatus", {"statefulSet": "web"})["stdout"]
