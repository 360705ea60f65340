"""What a job asks for. The http cases are checked against what the executor itself would ask: no address may be missed."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import EasyAlertError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.naming import connection_address, join_url
from easyalert.netguard.target import parse_target
from easyalert.policy.asked import asked_of
from workers.executors.http import ConnectionTestParameters, RequestParameters
from workers.sdk.database_connection import DatabaseConnection
from workers.sdk.executor import parse
from workers.sdk.kubernetes_parameters import KubernetesConnection


def goes_to(action, params, entry=None):
    asked = asked_of(action, "c", params, entry)
    return asked.places_unknown or {str(place) for place in asked.places}


@pytest.mark.parametrize(
    ("params", "entry", "places"),
    [
        ({"url": "https://a.test/x"}, None, {"https://a.test:443"}),
        ({"url": "/x", "baseUrl": "https://a.test"}, None, {"https://a.test:443"}),
        ({"url": "/x"}, {"baseUrl": "https://a.test"}, {"https://a.test:443"}),
        ({"url": "/x"}, {"host": "a.test", "port": 8443}, {"https://a.test:8443"}),
        ({"url": "/x", "connectionConfig": {"url": "http://a.test"}}, None, {"http://a.test:80"}),
        # every address counts, under every spelling its reader takes
        ({"url": "https://b.test", "baseUrl": "https://a.test"}, None, {"https://a.test:443", "https://b.test:443"}),
        ({"url": "/x", "baseUrl": "https://a.test", "base_url": "https://b.test"}, None, {"https://a.test:443", "https://b.test:443"}),
        (
            {"url": "/x", "connection_config": {"baseUrl": "https://b.test"}},
            {"baseUrl": "https://a.test"},
            {"https://a.test:443", "https://b.test:443"},
        ),
        ({}, None, set()),
    ],
)  # fmt: skip
def test_where_a_request_goes(params, entry, places):
    assert goes_to("http.request", params, entry) == places


@pytest.mark.parametrize(
    ("params", "entry", "says"),
    [
        ({"url": "/x"}, None, "must start with http"),
        ({"url": 5}, None, "'url' is no text"),
        ({"url": ["https://a.test"]}, None, "'url' is no text"),
        ({"url": "/x", "baseUrl": {}}, None, "'baseUrl' is no text"),
        ({"url": "https://a.test", "connectionConfig": "x"}, None, "no object"),
        ({"url": "https://a.test"}, {"baseUrl": 7}, "'baseUrl' is no text"),
        ({"url": "https://u:p@a.test"}, None, "user name"),
    ],
)
def test_what_cannot_be_read_is_said(params, entry, says):
    assert says in goes_to("http.request", params, entry)


@pytest.mark.parametrize("word", ["followRedirects", "follow_redirects"])
@pytest.mark.parametrize("value", [True, "yes", "false", 1, [], {}])
def test_a_request_that_follows_redirects_does_not_say_where_it_goes(word, value):
    assert "follows redirects" in goes_to("http.request", {"url": "https://a.test", word: value})


@pytest.mark.parametrize("value", [None, False])
def test_a_request_that_does_not_follow_them_goes_where_it_says(value):
    assert goes_to("http.request", {"url": "https://a.test", "followRedirects": value}) == {"https://a.test:443"}


def test_the_address_of_a_connection_test_needs_no_scheme():
    assert goes_to("http.testConnection", {"url": "b.test"}, {"baseUrl": "https://a.test"}) == {
        "https://a.test:443",
        "https://b.test:443",
    }
    assert "no action http.get" in goes_to("http.get", {"url": "https://a.test"})


@pytest.mark.parametrize(
    ("action", "params", "entry", "places"),
    [
        ("ssh.executeCommand", {}, {"host": "web-1.test", "port": 22}, {"web-1.test"}),
        ("ssh.executeCommand", {"host": "other.test"}, {"host": "web-1.test"}, {"web-1.test", "other.test"}),
        ("winrm.executeScript", {}, {"host": "10.0.0.7"}, {"10.0.0.7"}),
        (
            "winrm.executeCommand",
            {"host": "10.0.0.9", "connectionConfig": {"host": "Win.Example."}},
            {"host": "10.0.0.7"},
            {"10.0.0.7", "10.0.0.9", "win.example"},
        ),
        ("email.sendEmail", {}, {"smtpHost": "mail.test", "host": ""}, {"mail.test"}),
        ("jira.createIssue", {}, {"baseUrl": "https://x.atlassian.net"}, {"https://x.atlassian.net:443"}),
        ("teams.sendMessage", {"webhookUrl": "https://t.test/secret"}, None, {"https://t.test:443"}),
        ("slack.sendMessage", {"channel": "ops"}, {"botToken": "xoxb"}, {"https://slack.com:443"}),
        ("slack.sendMessage", {"apiUrl": "https://evil.test"}, None, {"https://slack.com:443"}),
        ("slack.sendMessage", {}, {"apiUrl": "https://slack-gov.com/api/"}, {"https://slack-gov.com:443"}),
        ("ssh.executeCommand", {}, None, set()),
        ("ssh.executeCommand", {}, {"host": "db.test", "jumpHost": "b.test:2222"}, {"db.test", "b.test"}),
        ("ssh.executeCommand", {}, {"host": "db.test", "jumpHost": {"host": "b.test"}}, {"db.test", "b.test"}),
        ("ssh.executeCommand", {"jumpHost": "evil.test"}, {"host": "db.test"}, {"db.test"}),
    ],
)
def test_where_other_kinds_go(action, params, entry, places):
    assert goes_to(action, params, entry) == places


def kubeconfig(**servers):
    document = {
        "current-context": "one",
        "contexts": [{"name": name, "context": {"cluster": name}} for name in servers],
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in servers.items()],
    }
    return json.dumps(document)


TWO = kubeconfig(one="https://kube.test:6443", two="https://10.0.0.7/prefix")


@pytest.mark.parametrize(
    ("params", "entry", "places"),
    [
        ({}, {"kubeconfig": TWO}, {"https://kube.test:6443"}),
        ({"context": "two"}, {"kubeconfig": TWO}, {"https://10.0.0.7:443"}),
        ({"connectionConfig": {"context": "two"}}, {"kubeconfig": TWO}, {"https://10.0.0.7:443"}),
        ({"connection_config": {"context": "two"}}, {"kubeconfig": TWO}, {"https://10.0.0.7:443"}),
        ({}, {"kubeconfig": TWO, "context": "two"}, {"https://10.0.0.7:443"}),
        # every context that is named anywhere counts
        ({"context": "one", "connectionConfig": {"context": "two"}}, {"kubeconfig": TWO}, {"https://10.0.0.7:443", "https://kube.test:6443"}),
        # a job's own kubeconfig is never used, so it says nothing
        ({"kubeconfig": kubeconfig(one="https://evil.test")}, {"kubeconfig": TWO}, {"https://kube.test:6443"}),
        ({"kubeconfig": TWO}, None, set()),
        ({}, {"note": "x"}, set()),
    ],
)  # fmt: skip
def test_where_a_cluster_is(params, entry, places):
    assert goes_to("kubernetes.deletePod", params, entry) == places


@pytest.mark.parametrize(
    ("params", "entry", "says"),
    [
        ({"context": "nope"}, {"kubeconfig": TWO}, "no context of the name"),
        ({"context": 7}, {"kubeconfig": TWO}, "'context' is no text"),
        ({}, {"kubeconfig": {"a": 1}}, "'kubeconfig' is no text"),
        ({}, {"kubeconfig": "a: ["}, "no YAML"),
        ({}, {"kubeconfig": kubeconfig(one="https://u:p@kube.test")}, "user name"),
        ({}, {"kubeconfigPath": "/etc/kubernetes/admin.conf"}, "is a file"),
    ],
)
def test_a_cluster_that_cannot_be_told_is_said(params, entry, says):
    assert says in goes_to("kubernetes.deletePod", params, entry)


def test_the_policy_and_the_executor_read_the_same_words_of_a_connection():
    assert {field.alias or name for name, field in KubernetesConnection.model_fields.items()} == {
        "kubeconfig", "kubeconfigPath", "context", "namespace",
    }  # fmt: skip


def test_kinds_that_do_not_say():
    assert "'script' do not say" in goes_to("script.bash", {"script": "curl evil"})
    assert "'third' do not say" in goes_to("third.party", {"url": "https://a.test"})


@pytest.mark.parametrize(
    ("action", "connection", "params", "named"),
    [
        ("script.bash", "web-1", {"connectionId": "other"}, "web-1"),
        ("script.bash", None, {}, None),
        ("script.bash", "", {}, None),
        # a delivery replaces the entry its parameters name, whatever the envelope says
        ("system.storeCredential", "web-1", {"connectionId": "other"}, "other"),
        ("system.storeCredential", "web-1", {}, None),
        ("system.storeCredential", "web-1", {"connectionId": 5}, None),
    ],
)
def test_which_connection_counts(action, connection, params, named):
    assert asked_of(action, connection, params, None).connection == named


@pytest.mark.parametrize(
    ("action", "params", "interpreter"),
    [
        ("script.bash", {}, "bash"),
        ("script.python", {"interpreter": "bash"}, "python"),
        ("ssh.executeScript", {}, "bash"),
        ("ssh.executeScript", {"interpreter": "/usr/bin/python3"}, "python3"),
        ("ssh.executeScript", {"interpreter": "/usr/local/bin/bash"}, "bash"),
        ("ssh.executeScript", {"interpreter": "bash"}, "bash"),
        ("ssh.executeScript", {"interpreter": "/tmp/theirs/bash"}, "/tmp/theirs/bash"),
        ("ssh.executeScript", {"interpreter": "/bin/../tmp/bash"}, "/bin/../tmp/bash"),
        ("ssh.executeScript", {"interpreter": "/bin/sh -c 'x'; /bin/bash"}, "/bin/sh -c 'x'; /bin/bash"),
        ("ssh.executeScript", {"interpreter": "/bin/"}, None),
        ("ssh.executeScript", {"interpreter": ""}, None),
        ("ssh.executeScript", {"interpreter": 5}, None),
        ("ssh.executeCommand", {}, None),
        ("winrm.executeScript", {}, "powershell"),
        ("winrm.executeCommand", {}, "powershell"),
        ("winrm.testConnection", {}, None),
        ("http.request", {}, None),
    ],
)
def test_what_runs_it(action, params, interpreter):
    assert asked_of(action, None, params, None).interpreter == interpreter


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"script": "echo ü\n"}, "echo ü\n"),
        ({"command": "uptime"}, "uptime"),
        ({"script": "a", "command": None}, "a"),
        ({"script": "a", "command": "b"}, None),
        ({"script": 5}, None),
        ({"script": "\ud800"}, None),
        ({}, None),
    ],
)
def test_the_digest_is_that_of_the_text(params, text):
    wanted = None if text is None else hashlib.sha256(text.encode()).hexdigest()
    assert asked_of("script.bash", None, params, None).sha256 == wanted


# ---- no address is missed -------------------------------------------------------------------------------------------

ADDRESS = st.sampled_from(["https://a.test", "https://a.test/v1/", "http://b.test:8080", "c.test", "c.test:99", "/x", "x/../y", "", " ", "//d.test", None])  # fmt: skip
CONFIG = st.fixed_dictionaries(
    {}, optional={"baseUrl": ADDRESS, "url": ADDRESS, "host": ADDRESS, "port": st.sampled_from([443, 8443])}
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("url", "baseUrl", "base_url", "host"), ADDRESS),
        "connectionConfig": CONFIG,
        "connection_config": CONFIG,
    },
)


@given(PARAMS, CONFIG, st.booleans())
def test_wherever_the_executor_would_go_is_among_the_places(params, entry, test):
    asked = asked_of("http.testConnection" if test else "http.request", "c", params, entry)
    try:
        if test:
            read = parse(ConnectionTestParameters, params)
            own = {"baseUrl": read.base_url, "url": read.url, "host": read.host}
            url = connection_address(read.connection_config) or connection_address(own) or connection_address(entry)
        else:
            read = parse(RequestParameters, params)
            base = read.base_url or connection_address(read.connection_config) or connection_address(entry)
            url = join_url(base, read.url)
        target = parse_target(url, NetworkPolicy(allow_private=True))
    except EasyAlertError:
        return  # it would go nowhere
    assert asked.places_unknown is not None or (target.scheme, target.host, target.port, target.path) in {
        (place.scheme, place.host, place.port, place.path) for place in asked.places
    }


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        *("url", "baseUrl", "base_url", "host", "port", "connectionConfig", "smtpHost", "webhookUrl"),
        *("script", "command", "interpreter", "connectionId"),
    ]
)
KINDS = st.sampled_from(
    ["http.request", "http.testConnection", "ssh.executeScript", "email.sendEmail", "jira.x", "slack.x", "odd", ""]
)


@given(
    KINDS | st.text(),
    st.none() | st.text(),
    st.dictionaries(KEYS, ANYTHING),
    st.none() | st.dictionaries(KEYS, ANYTHING),
)
def test_nothing_a_job_can_hold_raises(action, connection, params, entry):
    assert asked_of(action, connection, params, entry).action == action


def test_a_database_job_goes_to_every_host_its_executor_could_take_and_to_localhost_without_one():
    assert goes_to("database.executeQuery", {"query": "SELECT 1"}, {"password": "x"}) == {"localhost"}
    assert goes_to("database.testConnection", {}, None) == {"localhost"}
    params = {"host": "a.test", "connectionConfig": {"host": "b.test"}}
    assert goes_to("database.executeQuery", params, {"host": "c.test"}) == {"a.test", "b.test", "c.test"}
    assert "no text" in goes_to("database.executeQuery", {"host": ["a.test"]}, None)
    # the executor reads its connection under these names only
    assert DatabaseConnection.address == ("host",)
    assert "host" in DatabaseConnection.model_fields
    assert DatabaseConnection.model_fields["host"].alias is None
