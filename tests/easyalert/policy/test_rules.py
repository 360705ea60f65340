import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.policy.asked import Asked
from easyalert.policy.places import host_place, parse_pattern
from easyalert.policy.rules import Policy, Rule, action_covers, wildcard_covers
from tests.fuzz.conftest import at_once

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "action", "covers"),
    [
        ("*", "script.bash", True),
        ("*", "odd", True),
        ("script.*", "script.bash", True),
        ("script.*", "script.bash.more", True),
        ("script.*", "script", True),
        ("script.*", "scripts.bash", False),
        ("script.bash", "script.bash", True),
        ("script.bash", "script.bash2", False),
        ("script.bash", "Script.bash", False),
        ("system.*", "system.storeCredential", True),
        ("connection.*", "connection.test", True),
        ("odd.odd", "odd", True),
        ("odd.even", "odd", False),
    ],
)
def test_actions(pattern, action, covers):
    assert action_covers(pattern, action) is covers


@pytest.mark.parametrize(
    ("pattern", "text", "covers"),
    [
        ("web-*", "web-1", True),
        ("web-*", "web-", True),
        ("web-*", "prod-web-1", False),
        ("*-db", "prod-db", True),
        ("a*c*e", "abcde", True),
        ("a*c*e", "ace", True),
        ("a*c*e", "aced", False),
        ("*", "", True),
        ("web", "web\n", False),
        ("w.b", "wxb", False),
        ("web-*", "web-\n1", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*ab*b", "ab", False),
        ("*ab*b", "aabb", True),
    ],
)
def test_wildcards(pattern, text, covers):
    assert wildcard_covers(pattern, text) is covers


@given(st.text(st.sampled_from("ab*"), max_size=8), st.text(st.sampled_from("ab"), max_size=10))
def test_wildcards_cover_what_the_regular_expression_says(pattern, text):
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert wildcard_covers(pattern, text) is (re.fullmatch(expression, text, re.DOTALL) is not None)


def test_no_connection_a_sender_can_name_takes_long():
    with at_once():
        assert not wildcard_covers("*-*-*-*-*-*-prod", "-" * 100_000)


@given(st.text(max_size=10))
def test_a_star_covers_everything_and_a_text_itself(text):
    assert wildcard_covers("*", text)
    assert "*" in text or wildcard_covers(text, text)


def rule(**conditions):
    return Rule(effect="allow", name="r", actions=("*",), **conditions)


PLACE = host_place("a.test")


@pytest.mark.parametrize(
    ("conditions", "asked", "why"),
    [
        ({"connections": ("web",)}, {"connection": None}, "names no connection"),
        ({"connections": ("web",)}, {"connection": "db"}, "'db' is not among 'web'"),
        ({"targets": (parse_pattern("a.test"),)}, {}, "names an address"),
        (
            {"targets": (parse_pattern("a.test"),)},
            {"places": (PLACE,), "places_unknown": "odd"},
            "cannot be told where the job goes: odd",
        ),
        (
            {"targets": (parse_pattern("a.test"),)},
            {"places": (PLACE, host_place("b.test"))},
            "b.test is not among 'a.test'",
        ),
        ({"interpreters": ("bash",)}, {}, "no known interpreter"),
        ({"interpreters": ("bash",)}, {"interpreter": "python"}, "python is not listed"),
        ({"sha256": frozenset({"a" * 64})}, {}, "no script"),
        ({"sha256": frozenset({"a" * 64})}, {"sha256": "b" * 64}, "is not listed"),
    ],
)
def test_what_an_allow_rule_asks_for_has_to_be_known_and_covered(conditions, asked, why):
    findings = list(rule(**conditions).findings(Asked("x.y", asked.pop("connection", "c"), **asked), NOW))
    assert findings[0].fits
    assert not findings[1].fits
    assert why in findings[1].why


def test_a_rule_that_fits_says_why():
    asked = Asked("script.bash", "web-1", places=(PLACE,), interpreter="bash", sha256="a" * 64)
    found = list(
        rule(
            connections=("web-*",),
            targets=(parse_pattern("*.test"),),
            interpreters=("bash",),
            sha256=frozenset({"a" * 64}),
        ).findings(asked, NOW)
    )
    assert all(finding.fits for finding in found)
    assert [finding.condition for finding in found] == ["actions", "connections", "targets", "interpreters", "sha256"]
    assert "covered by 'web-*'" in found[1].why


def test_long_lists_are_shortened():
    patterns = tuple(f"web-{number}" for number in range(9))
    (_, finding) = rule(connections=patterns).findings(Asked("x.y", "db"), NOW)
    assert finding.why.endswith("'web-4' and 4 more")


def test_the_vault_is_asked_only_where_a_rule_needs_it():
    assert not Policy(allow=(rule(),), deny=()).looks_at_targets
    assert Policy(allow=(rule(targets=(parse_pattern("a.test"),)),), deny=()).looks_at_targets
