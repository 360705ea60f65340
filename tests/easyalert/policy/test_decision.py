"""The decision: a table of policies and jobs, and what holds for every policy."""

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.policy.asked import asked_of
from easyalert.policy.decision import decide
from easyalert.policy.hours import Hours
from easyalert.policy.places import parse_pattern
from easyalert.policy.reading import read_policy
from easyalert.policy.rules import Policy, Rule

MONDAY_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MONDAY_NIGHT = datetime(2026, 1, 5, 3, tzinfo=UTC)

POLICY = """
timezone = "UTC"

[[deny]]
name = "freeze"
reason = "change freeze until Tuesday"
actions = ["script.*"]
days = ["mon"]
hours = ["00:00-06:00"]

[[deny]]
name = "not the database"
actions = ["*"]
connections = ["db-*"]

[[allow]]
name = "checks"
actions = ["connection.test", "http.testConnection"]

[[allow]]
name = "known scripts"
actions = ["script.bash"]
sha256 = ["7d88e721e241c7694a68f07596182386eb3a31bda4f8fdfba489b57a58657f80"]

[[allow]]
name = "shop"
actions = ["http.request"]
targets = ["https://shop.test/api/"]

[[allow]]
name = "deliveries"
actions = ["system.storeCredential"]
connections = ["web-*"]
"""
SCRIPT = {"script": "uptime\n"}


@pytest.mark.parametrize(
    ("action", "connection", "params", "at", "allowed", "sentence"),
    [
        ("connection.test", "web-1", {}, MONDAY_NOON, True, "allowed by [[allow]] 'checks'"),
        ("connection.test", "db-1", {}, MONDAY_NOON, False, "[[deny]] 'not the database' fits"),
        ("script.bash", None, SCRIPT, MONDAY_NOON, True, "allowed by [[allow]] 'known scripts'"),
        ("script.bash", None, SCRIPT, MONDAY_NIGHT, False, "[[deny]] 'freeze' fits (change freeze until Tuesday)"),
        ("script.bash", None, {"script": "uptime"}, MONDAY_NOON, False, "the nearest, 'known scripts', fails at sha256"),
        ("script.python", None, SCRIPT, MONDAY_NOON, False, "no [[allow]] rule names the action"),
        ("http.request", None, {"url": "https://shop.test/api/x"}, MONDAY_NOON, True, "allowed by [[allow]] 'shop'"),
        ("http.request", None, {"url": "https://shop.test/admin"}, MONDAY_NOON, False, "'shop', fails at targets"),
        ("http.request", None, {"url": "/x", "baseUrl": "https://evil.test"}, MONDAY_NOON, False, "fails at targets"),
        ("system.storeCredential", None, {"connectionId": "web-9"}, MONDAY_NOON, True, "'deliveries'"),
        ("system.storeCredential", "web-1", {"connectionId": "db-1"}, MONDAY_NOON, False, "'not the database' fits"),
        ("system.storeCredential", "web-1", {"connectionId": "x"}, MONDAY_NOON, False, "'deliveries', fails at connections"),
        ("odd", None, {}, MONDAY_NOON, False, "no [[allow]] rule names the action"),
    ],
)  # fmt: skip
def test_a_policy_and_jobs(action, connection, params, at, allowed, sentence):
    decision = decide(read_policy(POLICY.encode(), Path("p")), asked_of(action, connection, params, None), at)
    assert decision.allowed is allowed
    assert sentence in decision.sentence
    assert len(decision.verdicts) == 6, "every rule says something"


def test_the_digest_in_the_table_is_the_one_sha256sum_prints():
    import hashlib

    assert hashlib.sha256(SCRIPT["script"].encode()).hexdigest() in POLICY


def test_a_policy_without_rules_refuses_everything():
    assert not decide(Policy(allow=(), deny=()), asked_of("connection.test", "c", {}, None), MONDAY_NOON).allowed


def test_a_dry_run_is_said():
    policy = read_policy(b"dry_run = true\n[[allow]]\nname = 'a'\nactions = ['*']\n", Path("p"))
    decision = decide(policy, asked_of("script.bash", None, {}, None), MONDAY_NOON)
    assert (decision.allowed, decision.dry_run) == (True, True)


# ---- what holds for every policy ------------------------------------------------------------------------------------

ACTIONS = st.sampled_from(["*", "script.*", "script.bash", "http.request", "http.*"])
HOURS = st.builds(
    Hours,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.tuples(st.tuples(st.integers(0, 700), st.integers(701, 1440))),
    st.just(ZoneInfo("UTC")),
)
NAMES = st.sampled_from(["one", "two", "web-*", "*"])
DENY = st.builds(
    Rule,
    effect=st.just("deny"),
    name=st.text(min_size=1, max_size=3),
    actions=st.lists(ACTIONS, min_size=1, max_size=2).map(tuple),
    connections=st.none() | st.lists(NAMES, min_size=1, max_size=2).map(tuple),
    hours=st.none() | HOURS,
)
ALLOW = st.builds(
    Rule,
    effect=st.just("allow"),
    name=st.text(min_size=1, max_size=3),
    actions=st.lists(ACTIONS, min_size=1, max_size=2).map(tuple),
    connections=st.none() | st.lists(NAMES, min_size=1, max_size=2).map(tuple),
    targets=st.none()
    | st.sampled_from([("a.test",), ("*.test",), ("10.0.0.0/8",), ("https://a.test/v1/",)]).map(
        lambda t: tuple(map(parse_pattern, t))
    ),
    interpreters=st.none() | st.just(("bash",)),
    hours=st.none() | HOURS,
)
POLICIES = st.builds(Policy, allow=st.lists(ALLOW, max_size=3).map(tuple), deny=st.lists(DENY, max_size=3).map(tuple))
JOBS = st.builds(
    asked_of,
    st.sampled_from(["script.bash", "script.python", "http.request", "connection.test"]),
    st.sampled_from([None, "one", "web-1", "x"]),
    st.sampled_from([{}, {"url": "https://a.test/v1/x"}, {"url": "http://10.1.1.1"}, {"url": 5}, {"script": "a"}]),
    st.none(),
)
TIMES = st.integers(1_767_225_600, 1_769_904_000).map(lambda at: datetime.fromtimestamp(at, UTC))


@given(POLICIES, JOBS, TIMES)
def test_it_is_the_rule_that_people_read(policy, asked, at):
    decision = decide(policy, asked, at)

    def fits(rule):
        return all(finding.fits for finding in rule.findings(asked, at))

    assert decision.allowed is (not any(map(fits, policy.deny)) and any(map(fits, policy.allow)))
    assert decision.sentence


@given(POLICIES, JOBS, TIMES)
def test_the_order_of_rules_does_not_matter(policy, asked, at):
    wanted = decide(policy, asked, at).allowed
    for allow in permutations(policy.allow):
        for deny in permutations(policy.deny):
            assert decide(Policy(allow=allow, deny=deny), asked, at).allowed is wanted


@given(POLICIES, ALLOW, DENY, JOBS, TIMES)
def test_one_more_allow_lets_no_less_run_and_one_more_deny_no_more(policy, allow, deny, asked, at):
    before = decide(policy, asked, at).allowed
    assert decide(Policy(allow=(*policy.allow, allow), deny=policy.deny), asked, at).allowed >= before
    assert decide(Policy(allow=policy.allow, deny=(*policy.deny, deny)), asked, at).allowed <= before
