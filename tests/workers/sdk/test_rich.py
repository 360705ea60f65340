"""Rich messages of every archetype and medium: as they are meant to look, within limits, with nothing injected (contract 3.13)."""

import html.parser
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import InvalidParameter
from tests.support.slack_api import block_problems
from tests.support.teams_hook import LIMIT as TEAMS_MAX_BYTES
from tests.workers.sdk.rich_samples import GOLDEN, MEDIA, SAMPLES, drawn
from workers.sdk.executor import parse
from workers.sdk.rich import RichParameters, archetype_of, output_data
from workers.sdk.rich_document import Archetype, size
from workers.sdk.rich_email import email_bodies
from workers.sdk.rich_slack import slack_message
from workers.sdk.rich_teams import card_bytes, teams_card


def rich(data, **more):
    return parse(RichParameters, {"messageFormat": "rich", "outputData": data, **more})


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("archetype", SAMPLES)
def test_each_archetype_in_each_medium_is_as_it_is_meant(archetype, medium):
    """`python -m tests.workers.sdk.rich_samples` draws them anew, to be looked at."""
    assert drawn(archetype)[medium] == (GOLDEN / f"{archetype}.{medium}").read_text("utf-8")


def test_every_archetype_has_a_sample():
    assert set(SAMPLES) == set(Archetype)
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.{medium}" for name in SAMPLES for medium in MEDIA}


# ---- which archetype ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "archetype"),
    [
        ({"columns": [], "rows": [], "rowsAffected": 1}, "tabular"),
        ({"rowsAffected": None}, "db_modify"),
        ({"queryType": "modify"}, "db_modify"),
        ({"statusCode": 200, "headers": {}}, "http_response"),
        ({"pods": []}, "pod_logs"),
        ({"issueKey": "A-1", "url": ""}, "issue_tracker"),
        ({"issueKey": "A-1", "issueId": "1"}, "issue_tracker"),
        ({"issueKey": "A-1"}, "unknown"),
        ({"incidentId": "1", "stdout": ""}, "incident"),
        ({"severity": "high", "title": "t"}, "incident"),
        ({"stderr": ""}, "terminal"),
        ({"confirmed": False}, "confirmation"),
        ({"delivered": True}, "confirmation"),
        ({"message": "m", "channel": "c"}, "confirmation"),
        ({"message": "m"}, "unknown"),
        ([1], "unknown"),
    ],
)
def test_the_archetype_is_told_from_the_data(data, archetype):
    assert archetype_of(rich(data), data) == archetype


def test_output_type_wins_and_the_action_comes_last():
    assert archetype_of(rich({"stdout": ""}, outputType="Incident"), {"stdout": ""}) == "incident"
    assert archetype_of(rich({"stdout": ""}, outputType="json"), {"stdout": ""}) == "terminal"
    assert archetype_of(rich({"a": 1}, sourceAction="ssh.executeCommand"), {"a": 1}) == "terminal"
    assert archetype_of(rich({"a": 1}, sourceAction="third.party"), {"a": 1}) == "unknown"


def test_data_that_does_not_fit_its_archetype_is_shown_as_json():
    for archetype in Archetype:
        _, blocks = slack_message(rich({"odd": "of-no-archetype"}, outputType=archetype))
        assert "of-no-archetype" in json.dumps(blocks), archetype


# ---- when a message is rich -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, "", "  ", {}, "{}", "null", []])
def test_without_data_there_is_no_rich_message(data):
    assert not rich(data).is_rich


@pytest.mark.parametrize("data", [{"a": 1}, '{"a": 1}', "plain words", [0]])
def test_with_data_there_is_one_if_it_is_asked_for(data):
    assert rich(data).is_rich
    assert not parse(RichParameters, {"outputData": data}).is_rich
    assert parse(RichParameters, {"outputData": data, "messageFormat": " RICH "}).is_rich


def test_a_format_that_there_is_not_is_refused_by_name():
    with pytest.raises(InvalidParameter, match="messageFormat"):
        parse(RichParameters, {"messageFormat": "loud"})


def test_json_in_a_text_is_read():
    assert output_data(rich(' {"a": NaN, "b": "\\ud800"} ')) == {"a": None, "b": "\ufffd"}
    assert output_data(rich("{broken")) == "{broken"


# ---- nothing is cut in silence --------------------------------------------------------------------------------------


def test_what_is_left_out_of_a_table_is_said():
    data = {"columns": [f"column {n}" for n in range(12)], "rows": [["cell " * 40] * 12 for _ in range(100)]}
    text, blocks = slack_message(rich(data))
    assert "20 of 100 rows shown, 6 of 12 columns shown" in json.dumps(blocks)
    assert "more rows" in json.dumps(blocks, ensure_ascii=False)  # 20 rows of 6 cells are more than a text object takes
    assert not block_problems(blocks)
    assert text == "Automation result"
    assert "20 of 100 rows shown, 5 of 12 columns shown" in json.dumps(teams_card(rich(data)))
    for body in email_bodies(rich(data)):
        assert "30 of 100 rows shown, 8 of 12 columns shown" in body


def test_both_ends_of_long_output_are_kept_and_the_gap_is_said():
    data = {"stdout": "first\n" + "&<>" * 20_000 + "\nlast"}
    for message in (json.dumps(slack_message(rich(data))), json.dumps(teams_card(rich(data)))):
        assert "first" in message
        assert "last" in message
        assert "characters left out" in message


def test_of_logs_the_newest_lines_are_kept():
    data = {"pods": [{"name": f"p{n}", "logs": "\n".join(f"<{n}.{line}>" for line in range(100))} for n in range(12)]}
    html_body, plain = email_bodies(rich(data))
    assert "<0.99>" in plain
    assert "<0.60>" in plain
    assert "<0.59>" not in plain
    assert "[… 60 earlier lines left out …]" in plain
    assert "8 of 12 pods shown" in html_body
    _, blocks = slack_message(rich(data))
    assert "&lt;7.99&gt;" in json.dumps(blocks)
    assert "6 of 12 pods shown" in json.dumps(teams_card(rich(data)))


# ---- nothing gets through -------------------------------------------------------------------------------------------

HOSTILE = [
    "<!channel>", "<!here>", "<!everyone>", "<@U123>", "<https://evil.test|click>", "@channel", "```", "``` <!here> ```",
    "[click](https://evil.test)", "{{DATE(2026-01-01T00:00:00Z,SHORT)}}", "{ {TIME(x)}}", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "data:text/html,x", "\u202egnp.exe", "\ud800", "\x00\x1b[31m",
    "&lt;!here&gt;", "&amp;", "a\r\nBcc: x@evil.test", "\u2028", "`", "~~~", "# h", "1. x",
]  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=40) | st.builds(
    lambda piece, times: piece * times, st.sampled_from(HOSTILE), st.sampled_from([2, 50, 3_000])
)  # fmt: skip
NAMES = st.sampled_from(
    [
        *(
            "columns",
            "rows",
            "rowsAffected",
            "queryType",
            "statusCode",
            "headers",
            "body",
            "bodyParsed",
            "pods",
            "name",
        ),
        *("logs", "error", "issueKey", "issueId", "url", "incidentId", "severity", "title", "tags", "description"),
        *("stdout", "stderr", "exitCode", "confirmed", "delivered", "message", "channel", "content-type"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(NAMES | TEXTS, inner, max_size=6),
    max_leaves=25,
)
SHAPED = st.fixed_dictionaries({}, optional={
    "columns": st.lists(VALUES, max_size=12), "rows": st.lists(st.lists(VALUES, max_size=12) | VALUES, max_size=40),
    "pods": st.lists(st.fixed_dictionaries({"name": TEXTS, "logs": TEXTS}), max_size=12), "stdout": TEXTS,
    "incidentId": VALUES, "title": TEXTS, "url": TEXTS, "tags": VALUES, "message": VALUES, "channel": TEXTS,
})  # fmt: skip
CONTEXTS = st.fixed_dictionaries(
    {"outputType": st.sampled_from(["", *Archetype])},
    optional=dict.fromkeys(
        ("title", "sourceAction", "nodeName", "workflowName", "incidentUrl", "severity", "status", "timestamp"),
        st.sampled_from([text for text in HOSTILE if "\ud800" not in text]),
    ),
)


def texts_of(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "text" and isinstance(item, str):
                yield value
            else:
                yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


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


class _Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen |= {tag, *(f"{tag} {name}" for name, _ in attrs)}
        for name, value in attrs:
            assert name != "href" or re.match(r"https?://", value)


OWN_TAGS = {
    "html", "head", "meta", "meta charset", "title", "body", "body style", "h2", "h2 style", "table", "table style", "tr",
    "th", "th style", "td", "td style", "p", "p style", "pre", "pre style", "b", "a", "a href", "a rel",
}  # fmt: skip


@given(SHAPED | VALUES, CONTEXTS)
def test_any_data_for_mail_makes_no_tag_of_its_own(data, context):
    """Defect C25."""
    html_body, plain = email_bodies(rich(data, **context))
    tags = _Tags()
    tags.feed(html_body)
    assert tags.seen <= OWN_TAGS
    for body in (html_body, plain):
        body.encode()
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", body)
        assert len(body) < 400_000


def test_a_value_nested_a_thousand_times_or_of_five_thousand_digits_is_drawn():
    data = 1
    for _ in range(1_000):
        data = {"a": data}
    for value, shown in ((data, "characters left out"), ({"long": 10**5_000}, "[integer of")):
        _, blocks = slack_message(rich(value))
        assert shown in json.dumps(blocks, ensure_ascii=False)
        assert block_problems(blocks) == []


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


def test_there_is_one_formatter_for_each_archetype():
    """Defect D4: two formatters drew what was tested and what was shipped."""
    sources = [path for path in Path("workers").rglob("*.py") if "rowsAffected" in path.read_text("utf-8")]
    drawing = {path.name for path in sources if path.name.startswith("rich")}
    assert drawing == {"rich.py", "rich_formatters.py"}  # one tells the archetype, one draws it
