"""Strict reading: each mistake refuses the file, with the line where it stands and what to write instead."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from easyalert.errors import PolicyUnusable
from easyalert.policy.reading import read_policy

PATH = Path("/etc/easyalert/policy.toml")
ALLOW = '[[allow]]\nname = "a"\nactions = ["script.bash"]\n'


def problem(text):
    with pytest.raises(PolicyUnusable) as caught:
        read_policy(text.encode() if isinstance(text, str) else text, PATH)
    sentence = str(caught.value)
    assert sentence.startswith(str(PATH))
    assert "\n" not in sentence
    return sentence.removeprefix(f"{PATH}")


def understood_or_said(content):
    """Whether reading ends in a policy, or in a sentence that names the file."""
    try:
        read_policy(content, PATH)
    except PolicyUnusable as error:
        return str(PATH) in str(error)
    return True


def test_a_whole_policy():
    policy = read_policy(
        b"""
        dry_run = true
        timezone = "Europe/Vienna"
        [[deny]]
        name = "freeze"
        reason = "until Tuesday"
        actions = ["*"]
        connections = ["db-*"]
        days = ["fri-sun"]
        [[allow]]
        name = "web"
        actions = ["script.bash", "http.*"]
        connections = ["web-1"]
        targets = ["10.0.0.0/8", "*.example.com"]
        interpreters = ["bash"]
        sha256 = ["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
        hours = ["08:00-18:00", "20:00-02:00"]
        timezone = "UTC"
        """,
        PATH,
    )
    (deny,), (allow,) = policy.deny, policy.allow
    assert policy.dry_run
    assert (deny.name, deny.reason, deny.actions, deny.connections) == ("freeze", "until Tuesday", ("*",), ("db-*",))
    assert deny.hours.text() == "fri,sat,sun 00:00-24:00 Europe/Vienna"
    assert allow.hours.text() == "every day 08:00-18:00, 20:00-02:00 UTC"
    assert [pattern.text for pattern in allow.targets] == ["10.0.0.0/8", "*.example.com"]
    assert allow.interpreters == ("bash",)


def test_an_empty_file_is_a_policy_that_allows_nothing():
    policy = read_policy(b"", PATH)
    assert (policy.allow, policy.deny, policy.dry_run) == ((), (), False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ", ": no TOML: Invalid value"),
        ("a = 1\na = 2\n", ": no TOML: Cannot overwrite a value (at line 2"),
        ("# fine\ndryrun = true\n", ", line 2: 'dryrun' is no key of this file: write dry_run"),
        ("colour = 1\n", ", line 1: 'colour' is no key of this file: known are dry_run, timezone, deny, allow"),
        ("dry_run = 1\n", ", line 1: 'dry_run' must be true or false"),
        ('dry_run = "true"\n', ", line 1: 'dry_run' must be true or false"),
        ('timezone = "Vienna"\n', ", line 1: timezone: 'Vienna' is no time zone here"),
        ('timezone = "../../etc/passwd"\n', "is no time zone here"),
        ("timezone = 1\n", "'timezone' must be a name in quotes"),
        ("allow = true\n", ", line 1: 'allow' must be rules: begin each one with a line [[allow]]"),
        ('[allow]\nname = "a"\n', "'allow' must be rules"),
        ("allow = [1]\n", "'allow' must be rules"),
        ("[[allows]]\n", ", line 1: 'allows' is no key of this file: write allow"),
        ('[[allow]]\nactions = ["*"]\n', ", line 1, rule 1 of [[allow]]: 'name' is missing"),
        ('[[allow]]\nname = ""\nactions = ["*"]\n', "'name' must be one line of text"),
        ('[[allow]]\nname = "a\\nb"\nactions = ["*"]\n', "'name' must be one line of text"),
        ('[[allow]]\nname = "a"\n', "'actions' is missing"),
        (f'{ALLOW}[[allow]]\nname = "b"\naction = ["*"]\n', ", line 6, rule 2 of [[allow]]: 'action' is no key of [[allow]]: write actions"),
        (f'{ALLOW}[[deny]]\nname = "a"\nactions = ["*"]\n', "name: 'a' is the name of two rules"),
        ('[[allow]]\nname = "a"\nactions = "script.bash"\n', ", line 3, rule 1 of [[allow]]: 'actions' must be a list: write actions = [\"script.bash\"]"),
        ('[[allow]]\nname = "a"\nactions = []\n', "'actions' is an empty list"),
        ('[[allow]]\nname = "a"\nactions = [1]\n', "'actions' must be a list of texts"),
        ('[[allow]]\nname = "a"\nactions = ["script"]\n', "actions: 'script' is no action: write script.bash, script.* or *"),
        ('[[allow]]\nname = "a"\nactions = ["script.ba*"]\n', "is no action"),
        ('[[allow]]\nname = "a"\nactions = ["*.bash"]\n', "is no action"),
        (f'{ALLOW}connections = ["web 1"]\n', ", line 4, rule 1 of [[allow]]: connections: 'web 1' is no connection id"),
        (f'{ALLOW}targets = ["10.0.0.1/8"]\n', ", line 4, rule 1 of [[allow]]: targets: '10.0.0.1/8' is no network"),
        (f'{ALLOW}sha256 = ["ABC"]\n', "'sha256' must be 64 hexadecimal digits in lower case"),
        (f'{ALLOW}hours = ["08:00-18:00"]\n', ", line 4, rule 1 of [[allow]]: 'hours' need a time zone"),
        (f'{ALLOW}days = ["mon"]\n', "'days' need a time zone"),
        (f'{ALLOW}timezone = "UTC"\n', "'timezone' is useless in a rule without days and hours"),
        (f'timezone = "UTC"\n{ALLOW}hours = ["8-18"]\n', ", line 5, rule 1 of [[allow]]: hours: '8-18' are no hours"),
        (f'timezone = "UTC"\n{ALLOW}days = ["monday"]\n', ", line 5, rule 1 of [[allow]]: days: 'monday' is no day"),
        (f'{ALLOW}reason = "x"\n', "'reason' is no key of [[allow]]"),
        ('[[deny]]\nname = "d"\nactions = ["*"]\ntargets = ["x.test"]\n', ", line 4, rule 1 of [[deny]]: 'targets' cannot be denied: one machine has many names"),
        ('[[deny]]\nname = "d"\nactions = ["*"]\nsha256 = []\n', "'sha256' cannot be denied: one space makes another script"),
        ('[[deny]]\nname = "d"\nactions = ["*"]\ninterpreters = []\n', "'interpreters' cannot be denied"),
        ('[[deny]]\nname = "d"\nreason = 5\nactions = ["*"]\n', "'reason' must be one line of text"),
        (b"name = '\xff'\n", ", line 1: not text in UTF-8"),
        (b"\n\n\xff", ", line 3: not text in UTF-8"),
    ],
)  # fmt: skip
def test_each_mistake_says_where_and_what_to_write(text, says):
    assert says in problem(text)


def test_a_key_is_found_in_its_own_rule_whatever_stands_before():
    text = f'# action = 1\n{ALLOW}\n[[deny]]\nname = "d"\nactions = ["*"]\n\n[[ "allow" ]]\nname = "b"\n  "acts" = 1\nactions = ["*"]\n'
    assert ", line 12, rule 2 of [[allow]]: 'acts'" in problem(text)


def test_rules_written_inline_are_rules_too():
    assert read_policy(b'allow = [{name = "a", actions = ["*"]}]', PATH).allow[0].name == "a"
    assert "rule 1 of [[allow]]: 'acts'" in problem('allow = [{name = "a", acts = ["*"]}]')


@given(st.binary(max_size=200))
@example(b"a = " + b"[" * 5000)
@example(b'a = """' + b"x" * 50)
@example(b"\x00")
def test_no_bytes_end_in_anything_but_a_policy_or_a_sentence(content):
    assert understood_or_said(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["name", "actions", "connections", "targets", "interpreters", "sha256", "days", "hours", "timezone", "x"]
        ),
        VALUES,
    )
)
def test_no_value_of_any_key_ends_in_anything_else(table):
    def toml(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        if isinstance(value, str):
            return '"' + "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
        return "nan" if value is None else str(value)

    text = "[[allow]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    assert understood_or_said(text.encode())
