"""The table of docs/isolation.md: which way of running scripts leaves what open."""

from __future__ import annotations

from tests.docs.named_tests import ROOT
from tests.support.probes import NAMES

PAGE = (ROOT / "docs/isolation.md").read_text("utf-8")


def table() -> dict[str, set[str]]:
    """Column → names of the probes that get through."""
    lines = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")
    ]
    head = next(cells for cells in lines if cells[0] == "A script tries to reach")
    rows = {cells[1]: cells for cells in lines if len(cells) == len(head) and cells[1] in NAMES}
    assert set(rows) == set(NAMES), "one row for each probe"
    columns: dict[str, set[str]] = {}
    for number, way in enumerate(head[2:], start=2):
        assert {cells[number] for cells in rows.values()} <= {"no", "**yes**"}
        columns[way] = {name for name, cells in rows.items() if cells[number] == "**yes**"}
    return columns
