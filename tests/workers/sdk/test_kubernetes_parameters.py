"""Where a job's cluster is read from: the vault and nothing else."""

import os

import pytest

pytestmark = pytest.mark.system


# ---- defect C4 ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ambient(kube, tmp_path, monkeypatch):
    """A host on which every other client would find a way into the cluster."""
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    (home / ".kube/config").write_text(kube.api.kubeconfig())
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KUBECONFIG", str(home / ".kube/config"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(kube.api.port))


@pytest.mark.parametrize(
    "entry",
    [{"note": "nothing"}, {"kubeconfig": ""}, {"kubeconfig": " \n"}, {"kubeconfig": None}, {"namespace": "prod"}],
)
@pytest.mark.parametrize("action", ["restartDeployment", "deletePod", "getLogs", "testConnection"])
def test_defect_c4_without_a_kubeconfig_in_the_vault_nothing_is_reached(kube, ambient, entry, action):
    params = {"deployment": "web", "pod": "web"}
    record = kube.bad(action, params, entry, code=-1)
    assert "has no 'kubeconfig' in its vault entry" in record["error"]
    assert kube.api.seen == []


def test_defect_c4_without_an_entry_or_a_connection_nothing_is_reached(kube, ambient):
    harness = kube.harness()
    harness._credential = None
    assert "the vault of this agent has no credential" in harness.run("deletePod", {"pod": "a"}).error
    assert "needs a connectionId" in harness.run("deletePod", {"pod": "a"}, connection_id=None).error
    assert kube.api.seen == []


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["kubeconfig", "kubeconfigPath"])
def test_defect_c4_a_job_brings_no_kubeconfig_and_names_no_file(kube, ambient, tmp_path, name, nested):
    own = {"kubeconfig": kube.api.kubeconfig(), "kubeconfigPath": str(tmp_path / "home/.kube/config")}
    params = {name: own[name]}
    record = kube.bad(
        "deletePod", {"pod": "a", **({"connectionConfig": params} if nested else params)}, {"note": "x"}, code=-1
    )
    assert "has no 'kubeconfig' in its vault entry" in record["error"]
    assert kube.api.seen == []


# ---- kubeconfigPath -------------------------------------------------------------------------------------------------


def test_a_file_of_the_agents_host_may_be_named_by_the_vault(kube, tmp_path):
    file = tmp_path / "kubeconfig"
    file.write_text(kube.api.kubeconfig())
    kube.good("testConnection", {}, {"kubeconfigPath": str(file)})


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("relative/kubeconfig", "absolute"),
        ("TMP/../TMP/kubeconfig", "absolute"),
        ("TMP/link", "cannot be read"),
        ("TMP/linked/kubeconfig", "cannot be read"),
        ("TMP/nowhere", "cannot be read"),
        ("TMP", "names no file"),
        ("TMP/pipe", "names no file"),
        ("TMP/large", "larger than 1048576 bytes"),
        ("/proc/self/environ\0", "absolute"),
    ],
)
def test_what_a_path_may_not_be(kube, tmp_path, path, says):
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "kubeconfig").write_text(kube.api.kubeconfig())
    (folder / "link").symlink_to(folder / "kubeconfig")
    (folder / "linked").symlink_to(folder)
    (folder / "large").write_text(" " * 1_048_577)
    os.mkfifo(folder / "pipe")
    record = kube.bad("testConnection", {}, {"kubeconfigPath": path.replace("TMP", str(folder))}, code=-1)
    assert says in record["error"]
    assert kube.api.seen == []
