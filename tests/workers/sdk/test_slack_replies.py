"""What is said of Slack's refusals."""

import pytest

from workers.sdk.slack_replies import explained


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ({"error": "not_in_channel"}, "Slack refused m: not_in_channel (invite the bot to the channel)"),
        ({"error": "of_tomorrow"}, "Slack refused m: of_tomorrow"),
        ({}, "Slack refused m: no reason given"),
        ({"error": ["odd"]}, "Slack refused m: ['odd']"),
        (
            {"error": "missing_scope"},
            "Slack refused m: missing_scope (the app needs the scope ?; add it and install the app again)",
        ),
    ],
)
def test_a_refusal_is_one_sentence(reply, sentence):
    assert explained("m", reply) == sentence
