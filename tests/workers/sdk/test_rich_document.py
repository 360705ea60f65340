"""How texts are made to fit, and what may be linked."""

import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.sdk.rich_hostile import BOUNDED, rich
from workers.sdk.rich_document import as_line, as_words, clean, cut_lines, fitted, size, web_address
from workers.sdk.rich_email import email_bodies
from workers.sdk.rich_slack import slack_message
from workers.sdk.rich_teams import teams_card


@BOUNDED
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(min_value=100, max_value=400))
def test_a_fitted_text_is_whole_or_says_what_is_missing(text, limit):
    shown = fitted(text, limit, html.escape)
    assert size(shown) <= limit
    if size(html.escape(text)) <= limit:
        assert shown == html.escape(text)
    else:
        head, gap, tail = shown.split("\n[…", 1)[0], "characters left out …]\n", shown.rsplit("…]\n", 1)[1]
        assert gap in shown
        assert html.escape(text).startswith(head)
        assert html.escape(text).endswith(tail)
        missing = int(shown.split("[… ", 1)[1].split(" ", 1)[0])
        assert len(text) - missing == len(html.unescape(head)) + len(html.unescape(tail))


def test_lines_are_cut_in_the_middle_or_at_the_beginning():
    text = "\n".join("abcdefgh")
    assert cut_lines(text, 8) == text
    assert cut_lines(text, 4) == "a\nb\n[… 4 lines left out …]\ng\nh"
    assert cut_lines(text, 3, last=True) == "[… 5 earlier lines left out …]\nf\ng\nh"


def test_values_become_words():
    values = [None, "a", 1, True, 1.5, [1, "b"], {"a": None}, float("nan")]
    assert [as_words(value) for value in values] == ["", "a", "1", "true", "1.5", '[1, "b"]', '{"a": null}', "null"]
    assert as_line("a\n  b\tc" * 100, 10) == "a b ca b…"


def test_what_nobody_sees_is_taken_out():
    assert clean("\x1b[1;31mred\x1b[0m\r\na\rb\x00\u202egnp") == "red\na\nbgnp"


def test_web_addresses_are_linked():
    assert web_address(" https://a.test/x?b=1&c=%20#d ") == "https://a.test/x?b=1&c=%20#d"
    assert web_address("HTTP://a.test") == "HTTP://a.test"
    assert web_address(7) is None


def test_both_ends_of_long_output_are_kept_and_the_gap_is_said():
    data = {"stdout": "first\n" + "&<>" * 20_000 + "\nlast"}
    for message in (json.dumps(slack_message(rich(data))), json.dumps(teams_card(rich(data)))):
        assert "first" in message
        assert "last" in message
        assert "characters left out" in message


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//evil.test", "https://", "ftp://a.test",
        "https://a.test/ b", "https://a.test/>x", 'https://a.test/"x', "https://user:word@a.test/", "https://a.test/|x",
        "https://a.test/\u202e", "https://[a.test/", "x" * 3_000,
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_not_linked(url):
    params = rich({"a": 1}, incidentUrl=url)
    assert "actions" not in teams_card(params)
    assert "mrkdwn" not in json.dumps([block for block in slack_message(params)[1] if block["type"] == "context"])
    assert "<a " not in email_bodies(params)[0]
