"""Rich messages for Teams: within a webhook's size, and no text is read as markdown."""

import json
import re

from hypothesis import given

from tests.support.teams_hook import LIMIT as TEAMS_MAX_BYTES
from tests.workers.sdk.rich_hostile import BOUNDED, CONTEXTS, SHAPED, VALUES, rich, texts_of
from workers.sdk.rich_teams import card_bytes, teams_card


@BOUNDED
@given(SHAPED | VALUES, CONTEXTS)
def test_any_data_for_teams_is_within_the_size_and_knows_no_markdown(data, context):
    card = teams_card(rich(data, **context))
    assert card_bytes(card) < TEAMS_MAX_BYTES
    written = json.dumps(card, ensure_ascii=False, allow_nan=False)
    written.encode()
    assert not re.search(r"\{\{\s*(DATE|TIME)\s*\(", written)
    assert "TextBlock" not in written.replace("RichTextBlock", "")
    for shown in texts_of(card):
        assert shown["type"] == "TextRun"
        assert shown["text"]
    for action in card.get("actions", []):
        assert re.fullmatch(r"https?://\S+", action["url"])
