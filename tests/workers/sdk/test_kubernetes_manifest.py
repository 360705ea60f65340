"""Manifests, applied on the server's side."""

import json

import pytest

from easyalert.errors import InvalidParameter
from tests.support.kube_case import KIND
from workers.sdk.kubernetes_manifest import read_manifest

pytestmark = pytest.mark.system

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n"
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web:1}]}}
"""


def documents(*texts):
    return "---\n".join(texts)


def results(output):
    return [(one["object"], one["namespace"], one["result"]) for one in output["objects"]]


def test_it_is_created_then_unchanged_then_configured(kube):
    for manifest, result in ((MAP, "created"), (MAP, "unchanged"), (MAP.replace("b}", "c}"), "configured")):
        output = kube.good("applyManifest", {"manifest": manifest})
        assert results(output) == [("configmap/m", "default", result)]
        assert output["stdout"] == f"configmap/m {result} (server-side applied)\n"
    assert kube.now("configmaps", "m")["data"] == {"a": "c"}
    asked = kube.api.asked("PATCH")[-1]
    assert asked["query"] == {"fieldManager": "easyalert-agent", "fieldValidation": "Strict", "force": "false"}
    assert asked["headers"]["content-type"] == "application/apply-patch+yaml"


def test_several_documents_are_applied_in_an_order_that_works(kube):
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: fresh}\n"
    inside = MAP.replace("{name: m}", "{name: m, namespace: fresh}")
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:x'}\nrules: []\n"
    output = kube.good("applyManifest", {"manifest": documents(WEB, inside, "# nothing\n", role, space)})
    assert results(output) == [
        ("namespace/fresh", None, "created"),
        ("configmap/m", "fresh", "created"),
        ("deployment.apps/web", "default", "created"),
        ("clusterrole.rbac.authorization.k8s.io/system:x", None, "created"),
    ]


def test_a_list_and_json(kube):
    document = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in "ab"],
    }
    assert len(results(kube.good("applyManifest", {"manifest": json.dumps(document)}))) == 2


def test_the_namespace_of_the_job_is_for_those_that_name_none(kube):
    output = kube.good("applyManifest", {"manifest": MAP, "namespace": "prod"})
    assert results(output) == [("configmap/m", "prod", "created")]


def test_a_dry_run_keeps_nothing(kube):
    output = kube.good("applyManifest", {"manifest": MAP, "dryRun": True})
    assert output["stdout"] == "configmap/m created (server dry run)\n"
    assert kube.api.asked("PATCH")[0]["query"]["dryRun"] == "All"
    assert ("configmaps", "default", "m") not in kube.state.objects


def test_fields_of_another_manager_are_not_taken_unless_forced(kube):
    kube.good("applyManifest", {"manifest": MAP, "fieldManager": "somebody"})
    changed = MAP.replace("b}", "c}")
    record = kube.bad("applyManifest", {"manifest": changed})
    assert 'conflict with "somebody"' in record["error"]
    assert len(kube.api.asked("PATCH")) == 2  # waiting does not help
    kube.good("applyManifest", {"manifest": changed, "force": True})
    assert kube.now("configmaps", "m")["data"] == {"a": "c"}


def test_what_one_object_is_refused_for_does_not_hold_up_the_others(kube):
    wrong = WEB.replace("replicas", "replica")
    unknown = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n"
    record = kube.bad("applyManifest", {"manifest": documents(wrong, unknown, MAP)})
    assert 'strict decoding error: unknown field "spec.replica"' in record["output"]["stdout"]
    assert 'no matches for kind "Thing" in version "example.com/v1"' in record["output"]["stdout"]
    assert record["error"].startswith("2 of 3 objects were refused; ")
    assert [one["result"] for one in record["output"]["objects"]] == ["created", "failed", "failed"]


def test_it_waits_for_the_rollouts_of_what_was_applied(kube):
    output = kube.good("applyManifest", {"manifest": MAP + "---" + WEB, "wait": True})
    assert output["stdout"].endswith('deployment "web" successfully rolled out\n')
    kube.state.frozen.add("web")
    ran = kube.run("applyManifest", {"manifest": WEB.replace("web:1", "web:2"), "wait": True, "timeout": 3})
    assert "1 of 1 objects were applied and stay so; repeating it is harmless" in ran.error
    assert ran.recorded["output"]["objects"][0]["result"] == "configured"


def test_a_time_out_says_how_far_it_came(kube):
    kube.api.fail("PATCH", "configmaps/second", 200, body=lambda handler: kube.api.over.wait(60))
    ran = kube.run("applyManifest", {"manifest": MAP + "---\n" + MAP.replace("name: m", "name: second"), "timeout": 3})
    assert ran.result.outcome == "timed_out"
    assert "1 of 2 objects were applied" in ran.error


def test_applying_may_be_repeated_after_a_crash(kube):
    kube.api.fail("PATCH", "configmaps", 503, "ServiceUnavailable")
    kube.good("applyManifest", {"manifest": MAP})
    assert len(kube.api.asked("PATCH")) == 2


# ---- reading --------------------------------------------------------------------------------------------------------


def test_scalars_are_read_as_kubernetes_reads_them():
    values = read_manifest(
        MAP.replace(
            "{a: b}", "{a: yes, b: 2024-01-01, c: 22:22, d: off, e: 0644, f: 1e3, g: true, h: ~, i: 1_000, j: 3}"
        )
    )
    assert values[0].body["data"] == {
        "a": "yes", "b": "2024-01-01", "c": "22:22", "d": "off", "e": 0o644, "f": 1000.0, "g": True, "h": None, "i": "1_000", "j": 3,
    }  # fmt: skip


def test_anchors_and_merges_work():
    items = read_manifest("x: &x {a: b}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {<<: *x, c: d}\n")
    assert items[0].body["data"] == {"a": "b", "c": "d"}


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("", "holds no object"),
        ("---\n---\n", "holds no object"),
        ("text", "document 1 is no object"),
        ("[1]", "document 1 is no object"),
        ("a: [", "no YAML"),
        ("a: \x07", "no YAML"),
        ("kind: A", "no usable 'apiVersion'"),
        (MAP.replace("v1", "../../v1"), "no usable 'apiVersion'"),
        (MAP.replace("v1", "[]"), "no usable 'apiVersion'"),
        (MAP.replace("ConfigMap", "a/b"), "no usable 'kind'"),
        (MAP.replace("{name: m}", "{generateName: m}"), "no usable 'metadata.name'"),
        (MAP.replace("{name: m}", "m"), "no usable 'metadata.name'"),
        (MAP.replace("name: m", "name: ../x"), "no usable 'metadata.name'"),
        (MAP.replace("name: m", "name: '..'"), "no usable 'metadata.name'"),
        (MAP.replace("name: m", 'name: "m\\n"'), "no usable 'metadata.name'"),
        (MAP.replace("name: m", "name: m, namespace: a/b"), "no usable 'metadata.namespace'"),
        (MAP.replace("{a: b}", "{1: b}"), "key that is no text"),
        (MAP.replace("{a: b}", "{a: .nan}"), "JSON has not"),
        (MAP.replace("{a: b}", "{a: -.inf}"), "JSON has not"),
        (MAP.replace("{a: b}", "{a: !!binary aGk=}"), "tag that JSON has not"),
        (MAP.replace("{a: b}", "{a: !!timestamp 2024-01-01}"), "tag that JSON has not"),
        (MAP.replace("{a: b}", "{a: !!python/object/apply:os.system [id]}"), "no YAML"),
        (MAP.replace("{a: b}", "&a {a: *a}"), "levels"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)), "values"),
        ("[" * 5_000, "no YAML"),
        ("\n---\n".join([MAP] * 101), "more than 100 objects"),
        (MAP + "#" * 1_048_577, "manifest"),
        (MAP + "#" + "é" * 600_000, "larger than 1048576 bytes"),
        (MAP + "# \ud800", "lone surrogates"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_refused_whole(kube, manifest, says):
    record = kube.bad("applyManifest", {"manifest": manifest}, code=-1)
    assert says in record["error"]
    assert kube.api.seen == []


@pytest.mark.parametrize("manager", ["a\n", "", "-a", "a b", "a" * 129])
def test_a_field_manager_is_a_word(kube, manager):
    assert "fieldManager" in kube.bad("applyManifest", {"manifest": MAP, "fieldManager": manager}, code=-1)["error"]


def test_a_refusal_quotes_nothing():
    with pytest.raises(InvalidParameter) as caught:
        read_manifest(MAP.replace("b}", "{secret-value: ["))
    assert "secret" not in str(caught.value)


def test_a_definition_that_was_just_applied_is_looked_for_again(kube):
    assert KIND["configmaps"].kind == "ConfigMap"
    kube.api.fail("GET", "^/api/v1$", 404, "NotFound")
    record = kube.bad("applyManifest", {"manifest": MAP + "---\n" + MAP.replace("name: m", "name: n")})
    assert [one["result"] for one in record["output"]["objects"]] == ["failed", "created"]
