"""Rich messages for Slack: within its limits, and nothing in a text means anything but itself."""

import json
import re

from hypothesis import given

from tests.support.slack_api import block_problems
from tests.workers.sdk.rich_hostile import BOUNDED, CONTEXTS, SHAPED, VALUES, rich, texts_of
from workers.sdk.rich_document import size
from workers.sdk.rich_slack import slack_message


@BOUNDED
@given(SHAPED | VALUES, CONTEXTS)
def test_any_data_for_slack_is_within_limits_and_only_itself(data, context):
    text, blocks = slack_message(rich(data, **context))
    assert size(text) <= 200
    assert "<" not in text
    assert len(blocks) <= 50
    assert block_problems(blocks) == []
    assert size(json.dumps(blocks, ensure_ascii=False)) <= 13_000
    json.dumps([text, blocks], ensure_ascii=False, allow_nan=False).encode()
    for shown in texts_of(blocks):
        inside = shown["text"]
        if shown["type"] == "mrkdwn":
            assert shown["verbatim"] is True
            fenced = re.fullmatch(r"```\n(.*)\n```", inside, re.DOTALL)
            if fenced is None:
                assert re.fullmatch(r"<https?://[^<>|\s]+\|Open( the incident)?>", inside), inside
                continue
            inside = fenced[1]
            assert "```" not in inside
            assert not inside.endswith("`")
        assert "<" not in inside
        assert ">" not in inside


def test_a_value_nested_a_thousand_times_or_of_five_thousand_digits_is_drawn():
    data = 1
    for _ in range(1_000):
        data = {"a": data}
    for value, shown in ((data, "characters left out"), ({"long": 10**5_000}, "[integer of")):
        _, blocks = slack_message(rich(value))
        assert shown in json.dumps(blocks, ensure_ascii=False)
        assert block_problems(blocks) == []
