"""Each archetype in each medium as it is meant to look, and what does not fit (contract 3.13)."""

import json
from pathlib import Path

import pytest

from tests.support.slack_api import block_problems
from tests.workers.sdk.rich_hostile import rich
from tests.workers.sdk.rich_samples import GOLDEN, MEDIA, SAMPLES, drawn
from workers.sdk.rich_document import Archetype
from workers.sdk.rich_email import email_bodies
from workers.sdk.rich_slack import slack_message
from workers.sdk.rich_teams import teams_card


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("archetype", SAMPLES)
def test_each_archetype_in_each_medium_is_as_it_is_meant(archetype, medium):
    """`python -m tests.workers.sdk.rich_samples` draws them anew, to be looked at."""
    assert drawn(archetype)[medium] == (GOLDEN / f"{archetype}.{medium}").read_text("utf-8")


def test_every_archetype_has_a_sample():
    assert set(SAMPLES) == set(Archetype)
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.{medium}" for name in SAMPLES for medium in MEDIA}


def test_data_that_does_not_fit_its_archetype_is_shown_as_json():
    for archetype in Archetype:
        _, blocks = slack_message(rich({"odd": "of-no-archetype"}, outputType=archetype))
        assert "of-no-archetype" in json.dumps(blocks), archetype


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


def test_there_is_one_formatter_for_each_archetype():
    """Defect D4: two formatters drew what was tested and what was shipped."""
    sources = [path for path in Path("workers").rglob("*.py") if "rowsAffected" in path.read_text("utf-8")]
    drawing = {path.name for path in sources if path.name.startswith("rich")}
    assert drawing == {"rich.py", "rich_formatters.py"}  # one tells the archetype, one draws it
