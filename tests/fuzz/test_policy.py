"""Policies and jobs of any kind against a second, slow reading of docs/policy.md that shares no code with the first."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import PolicyUnusable
from easyalert.policy import asked_of, decide, read_policy
from tests.fuzz.conftest import TEXTS, VALUES, at_once, bounded

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
SCRIPTS = ["true", "true\n", "true\r\n", "rm -rf /", ""]
FILE = Path("policy.toml")

# ---- policies as tables, written out as TOML --------------------------------------------------------------------------

NAMED = st.sampled_from(
    ["*", "script.*", "script.bash", "ssh.executeScript", "http.request", "http.*", "odd.odd", "system.storeCredential"]
)
CONNECTIONS = st.sampled_from(["*", "web-*", "*-1", "*b-*", "web-1", "WEB-1", "-*-*-*", "w*b*1"])
TARGETS = st.sampled_from(["a.test", "*.a.test", "10.0.0.0/8", "::/0", "https://a.test/v1/", "http://a.test:8080/"])
CLOCK = st.tuples(st.integers(0, 23), st.integers(0, 59))
WINDOWS = {
    "days": st.lists(st.sampled_from([*DAYS, "mon-fri", "sat-mon", "sun-sun"]), min_size=1, max_size=3),
    "hours": st.lists(
        st.tuples(CLOCK, CLOCK | st.just((24, 0)))
        .filter(lambda span: span[0] != span[1])
        .map(lambda span: "{:02}:{:02}-{:02}:{:02}".format(*span[0], *span[1])),
        min_size=1,
        max_size=2,
    ),
}


def some(values):
    return st.lists(values, min_size=1, max_size=3)


DENY = st.fixed_dictionaries({"actions": some(NAMED)}, optional={"connections": some(CONNECTIONS), **WINDOWS})
ALLOW = st.fixed_dictionaries(
    {"actions": some(NAMED)},
    optional={
        "connections": some(CONNECTIONS),
        "targets": some(TARGETS),
        "interpreters": some(st.sampled_from(["bash", "python", "/opt/own/bash"])),
        "sha256": some(st.sampled_from(SCRIPTS).map(lambda text: hashlib.sha256(text.encode()).hexdigest())),
        **WINDOWS,
    },
)
ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe"])
POLICIES = st.fixed_dictionaries(
    {"timezone": ZONES, "deny": st.lists(DENY, max_size=3), "allow": st.lists(ALLOW, max_size=4)}
)


def toml(policy):
    lines = [f"timezone = {json.dumps(policy['timezone'])}"]
    for effect in ("allow", "deny"):
        for number, rule in enumerate(policy[effect]):
            lines += [f"[[{effect}]]", f'name = "{effect} {number}"']
            lines += [f"{key} = {json.dumps(value)}" for key, value in rule.items()]
    return "\n".join(lines).encode()


# ---- jobs, and times around midnights and changes of clocks -----------------------------------------------------------

JOBS = st.fixed_dictionaries(
    {
        "action": st.sampled_from(
            ["script.bash", "Script.bash", "script.python", "script", "ssh.executeScript", "http.request", "odd", "a.b"]
        ),
        "connection": st.sampled_from([None, "", "web-1", "WEB-1", "web-", "db-1", "-a-b-c", "wb1", "web-1\n"]),
        "params": st.fixed_dictionaries(
            {},
            optional={
                "script": st.sampled_from([*SCRIPTS, None, 5]),
                "interpreter": st.sampled_from(["/bin/bash", "/opt/own/bash", "/tmp/bash", "bash", "", 5, None]),
                "url": st.sampled_from(
                    ["https://A.test./v1/x", "https://a.test/v10", "http://a.test:8080/y", "https://b.a.test/v1/../z",
                     "http://10.1.2.3/", "http://[::1]/", "http://10.1", "https://user@a.test/", "ftp://a.test", 5]
                ),
            },
        ),
    }
)  # fmt: skip
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
]
TIMES = st.builds(
    lambda base, minutes: datetime.fromtimestamp(base.timestamp() + 60 * minutes, UTC),
    st.sampled_from(CHANGES),
    st.integers(-3 * 1440, 3 * 1440),
)

# ---- the second reading ---------------------------------------------------------------------------------------------


def star(pattern, text):
    """By trying every length for every star."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(star(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
    return text[:1] == pattern[0] and star(pattern[1:], text[1:])


def day_list(words):
    found = set()
    for word in words:
        first, _, last = word.partition("-")
        at = DAYS.index(first)
        while True:
            found.add(at % 7)
            if DAYS[at % 7] == (last or first):
                break
            at += 1
    return found


def open_at(rule, at, zone):
    """By listing every minute of the week that is open."""
    minutes = set()
    for day in day_list(rule.get("days", DAYS)):
        for span in rule.get("hours", ["00:00-24:00"]):
            begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in span.split("-"))
            length = end - begin if end > begin else end - begin + 1440
            minutes |= {(day * 1440 + begin + n) % (7 * 1440) for n in range(length)}
    local = at.astimezone(ZoneInfo(zone))
    return local.weekday() * 1440 + local.hour * 60 + local.minute in minutes


def goes(job):
    """Scheme, host, port and path of the one URL these jobs name; None: it cannot be told."""
    url = job["params"].get("url")
    if job["action"] != "http.request" or not isinstance(url, str):
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or parts.hostname == "10.1":
        return None
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, parts.hostname.removesuffix("."), port, parts.path


def reaches(target, place):
    scheme, host, port, path = place
    if target == "10.0.0.0/8":
        return host == "10.1.2.3"
    if target == "::/0":
        return host == "::1"
    if target == "https://a.test/v1/":
        return (scheme, host, port) == ("https", "a.test", 443) and path.startswith("/v1/") and ".." not in path
    if target == "http://a.test:8080/":
        return (scheme, host, port) == ("http", "a.test", 8080)
    return host.endswith(".a.test") if target == "*.a.test" else host == target


def runs_with(job):
    if job["action"].startswith("script."):
        return job["action"].removeprefix("script.")
    given = job["params"].get("interpreter", "/bin/bash")
    if job["action"] != "ssh.executeScript":
        return None
    return {"/bin/bash": "bash", "bash": "bash", "/opt/own/bash": given, "/tmp/bash": given}.get(given)


def fits(rule, job, at, zone):
    action, connection, script = job["action"], job["connection"], job["params"].get("script")
    whole = action if "." in action else f"{action}.{action}"
    asked = [any(p in {"*", whole} or (p[-2:] == ".*" and whole.split(".")[0] == p[:-2]) for p in rule["actions"])]
    if "connections" in rule:
        asked.append(bool(connection) and any(star(pattern, connection) for pattern in rule["connections"]))
    if "targets" in rule:
        place = goes(job)
        asked.append(place is not None and any(reaches(target, place) for target in rule["targets"]))
    if "interpreters" in rule:
        asked.append(runs_with(job) in rule["interpreters"])
    if "sha256" in rule:
        asked.append(isinstance(script, str) and hashlib.sha256(script.encode()).hexdigest() in rule["sha256"])
    if "days" in rule or "hours" in rule:
        asked.append(open_at(rule, at, zone))
    return all(asked)


CONDITIONS = {
    "connections": some(CONNECTIONS),
    "targets": some(TARGETS),
    "interpreters": st.sampled_from([["bash"], ["python"], ["/opt/own/bash"]]),
    "sha256": some(st.sampled_from(SCRIPTS).map(lambda text: hashlib.sha256(text.encode()).hexdigest())),
    "hours": WINDOWS["hours"],
}
ONE_RULE = st.sampled_from(sorted(CONDITIONS)).flatmap(
    lambda key: st.fixed_dictionaries({"actions": st.just(["*"]), key: CONDITIONS[key]})
)


@bounded(1500)
@given(ONE_RULE, ZONES, JOBS, TIMES)
def test_two_readings_of_one_condition_come_to_the_same_decision(rule, zone, job, at):
    policy = {"timezone": zone, "deny": [], "allow": [rule]}
    decision = decide(
        read_policy(toml(policy), FILE), asked_of(job["action"], job["connection"], job["params"], None), at
    )
    assert decision.allowed is fits(rule, job, at, zone), (rule, job, decision.sentence)


@bounded(1000)
@given(POLICIES, JOBS, TIMES)
def test_two_readings_of_the_rules_come_to_the_same_decision(policy, job, at):
    with at_once():
        read = read_policy(toml(policy), FILE)
        decision = decide(read, asked_of(job["action"], job["connection"], job["params"], None), at)
    denied = any(fits(rule, job, at, policy["timezone"]) for rule in policy["deny"])
    allowed = any(fits(rule, job, at, policy["timezone"]) for rule in policy["allow"])
    assert decision.allowed is (allowed and not denied), decision.sentence
    assert (decision.rule is not None and decision.rule.effect == "deny") is denied


@bounded(500)
@given(POLICIES, TEXTS, st.none() | TEXTS, st.dictionaries(TEXTS, VALUES, max_size=4), TIMES)
def test_any_job_is_decided_at_once_and_a_deny_of_everything_wins(policy, action, connection, params, at):
    everything = b'\n[[deny]]\nname = "stop"\nactions = ["*"]\n'
    with at_once():
        asked = asked_of(action, connection, params, None)
        assert decide(read_policy(toml(policy), FILE), asked, at).sentence
        assert not decide(read_policy(toml(policy) + everything, FILE), asked, at).allowed


@bounded(200)
@given(st.text(st.sampled_from("-*ab"), min_size=1, max_size=256), st.text(st.sampled_from("-ab"), max_size=3000))
def test_no_pair_of_wildcard_and_connection_takes_long(pattern, connection):
    text = f'[[allow]]\nname = "a"\nactions = ["*"]\nconnections = ["{pattern}"]\n'.encode()
    with at_once():
        try:
            policy = read_policy(text, FILE)
        except PolicyUnusable:
            return
        decide(policy, asked_of("a.b", connection * 20, {}, None), datetime.now(UTC))
