"""What Jira's answers are read as, and which connections can be used; the requests themselves: test_jira.py."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from workers.sdk.jira_call import Answer, JiraConnection

TOKEN = "token-of-ada-1234"


def connection(**more):
    return JiraConnection.model_validate(
        {"baseUrl": "https://acme.atlassian.net/", "email": "ada@example.com", "apiToken": TOKEN, **more}
    )


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"errorMessages": ["No project."], "errors": {"priority": "Unknown."}}, "No project.; priority: Unknown."),
        ({"errorMessages": "x", "errors": {"labels": ["a"]}}, 'labels: ["a"]'),
        ({"message": "Gone."}, "Gone."),
        ({"errorMessages": [], "errors": {}}, "plain words"),
        (["no object"], "plain words"),
        (None, "plain words"),
    ],
)
def test_its_errors_are_read_in_every_form(document, complaint):
    assert Answer(400, "plain\n  words", document).complaint() == complaint


def test_an_answer_without_a_word_is_a_sentence_too():
    assert Answer(500, "", None).sentence("https://acme.atlassian.net") == "https://acme.atlassian.net answered 500"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(401, "", None), "email and apiToken"),
        (Answer(302, "", None), "correct the connection's baseUrl"),
        (Answer(429, "", None, 90.0), "a pause of 90 s"),
    ],
)
def test_a_sentence_says_what_to_do(answer, says):
    assert says in answer.sentence("https://acme.atlassian.net")


def test_an_answer_of_any_length_is_cut():
    assert len(Answer(500, "x" * 10_000, None).complaint()) == 500


def test_the_username_is_used_where_there_is_no_email():
    assert connection(email=None, username="ada").account == "ada"
    assert connection(username="other").account == "ada@example.com"


def test_the_address_is_the_sites_without_a_slash_at_its_end():
    assert connection().base_url == "https://acme.atlassian.net"
    assert connection(baseUrl="https://acme.example/jira/").base_url == "https://acme.example/jira"


def test_the_token_is_in_no_representation():
    assert TOKEN not in repr(connection())


@pytest.mark.parametrize(
    "change",
    [
        {"baseUrl": "http://acme.atlassian.net"},
        {"baseUrl": "https://acme.atlassian.net/?x=1"},
        {"baseUrl": "https://acme.atlassian.net\n"},
        {"email": None},
        {"email": "ada:b@example.com"},
    ],
)
def test_what_cannot_be_used_is_refused(change):
    with pytest.raises(ValidationError):
        connection(**change)
