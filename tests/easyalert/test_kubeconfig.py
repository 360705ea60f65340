"""Reading a kubeconfig: what is taken from it, and all that is refused with a sentence."""

import base64

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import CredentialError
from easyalert.kubeconfig import read_kubeconfig

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
DATA = base64.b64encode(PEM.encode()).decode()


def text(cluster=None, user=None, **more):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "n"}},
            {"name": "bare", "context": {"cluster": "c"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://kube.test:6443", **(cluster or {})}}],
        "users": [
            {"name": "u", "user": {"token": "t0ken-t0ken", **(user or {})}},
            {"name": "bad", "user": {"exec": {"command": "id"}}},
        ],
        **more,
    }
    return yaml.safe_dump(document)


def test_what_is_taken():
    access = read_kubeconfig(
        text(
            {"certificate-authority-data": DATA, "tls-server-name": "name.test"},
            {
                "client-certificate-data": DATA,
                "client-key-data": DATA,
                "username": "a",
                "password": "pass-w0rd",
                "as": "b",
            },
        )
    )
    assert (access.context, access.server, access.tls_name) == ("one", "https://kube.test:6443", "name.test")
    assert access.authority == access.certificate == access.key == PEM
    assert (access.token, access.username, access.password, access.impersonate) == (
        "t0ken-t0ken",
        "a",
        "pass-w0rd",
        "b",
    )
    assert access.secrets == ("t0ken-t0ken", "pass-w0rd", PEM)
    assert access.insecure is False
    assert "t0ken" not in repr(access)


def test_another_context_and_one_without_a_user():
    assert read_kubeconfig(text(), "bare").token is None
    assert read_kubeconfig(text(**{"current-context": "bare"})).context == "bare"


def test_others_than_the_chosen_context_do_not_matter():
    assert read_kubeconfig(text()).token == "t0ken-t0ken"


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("user", "exec", {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": ["/tmp/x"]}),
        ("user", "auth-provider", {"name": "gcp", "config": {"cmd-path": "/bin/id"}}),
        ("user", "tokenFile", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ("user", "client-certificate", "/etc/passwd"),
        ("user", "client-key", "key.pem"),
        ("user", "as-groups", ["system:masters"]),
        ("user", "as-uid", "7"),
        ("user", "as-user-extra", {"a": ["b"]}),
        ("cluster", "certificate-authority", "/etc/ssl/ca.pem"),
        ("cluster", "proxy-url", "http://evil.test"),
    ],
)
def test_what_runs_programs_or_opens_files_is_refused_by_name(part, name, value):
    with pytest.raises(CredentialError) as caught:
        read_kubeconfig(text(**{part: {name: value}}))
    assert f"the kubeconfig is refused: its '{name}'" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("a: [", "no YAML"),
        ("!!python/object/apply:os.system [id]", "no YAML"),
        ("text", "no object of kind Config"),
        ("kind: Pod", "no object of kind Config"),
        ("[" * 10_000, "no YAML"),
        ("", "no object of kind Config"),
        (text(**{"current-context": ""}), "no current-context"),
        (text(**{"current-context": ["one"]}), "no current-context"),
        (text(**{"current-context": "nope"}), "no context of the name"),
        (text(contexts="x"), "no context of the name"),
        (text(clusters=[]), "no cluster of the name"),
        (text(users=[]), "no user of the name"),
        (text({"server": "http://kube.test"}), "must be an https:// URL"),
        (text({"server": None}), "must be an https:// URL"),
        (text({"server": ["https://kube.test"]}), "is no text"),
        (text({"certificate-authority-data": "no base64!"}), "no base64"),
        (text({"certificate-authority-data": DATA, "insecure-skip-tls-verify": True}), "both"),
        (text({"insecure-skip-tls-verify": "yes"}), "must be true or false"),
        (text(user={"client-certificate-data": DATA}), "without the other"),
        (text(user={"client-key-data": DATA}), "without the other"),
        (
            text(user={"client-certificate-data": DATA, "client-key-data": base64.b64encode(b"-----BEGIN ENCRYPTED PRIVATE KEY-----").decode()}),
            "encrypted",
        ),
        (text(user={"token": "a\r\nX: y"}), "no header can carry"),
        (text(user={"token": "tökén"}), "no header can carry"),
        (text(user={"token": 7}), "is no text"),
        (text() + "#" * 1_048_576, "larger than 1048576 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(config, says):
    with pytest.raises(CredentialError) as caught:
        read_kubeconfig(config)
    assert says in str(caught.value)
    assert "t0ken" not in str(caught.value)


def test_a_small_text_of_many_aliases_is_read_at_once():
    bomb = "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert read_kubeconfig(text() + "a: &a [x]\n" + bomb).context == "one"


@given(st.text(max_size=200) | st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["contexts", "name", "context", "current-context", "clusters", "kind"]), inner), max_leaves=12).map(yaml.safe_dump))  # fmt: skip
def test_any_text_is_read_or_refused(config):
    with pytest.raises(CredentialError):
        read_kubeconfig(config)
