"""When a message is rich, and which archetype it has (contract 3.13)."""

import pytest

from easyalert.errors import InvalidParameter
from tests.workers.sdk.rich_hostile import rich
from workers.sdk.executor import parse
from workers.sdk.rich import RichParameters, archetype_of, output_data

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
