"""`docs/faults.md` names only tests there are."""

from tests.docs.named_tests import NAMED, ROOT, missing

PAGE = (ROOT / "docs/faults.md").read_text("utf-8")


def test_every_test_it_names_exists():
    assert len(set(NAMED.findall(PAGE))) > 35
    assert missing(PAGE) == []


def test_every_row_of_the_fault_tables_names_one():
    tables, _, _ = PAGE.partition("## Process trees")
    rows = [line for line in tables.splitlines() if line.startswith("| ") and "Shown by" not in line]
    assert len(rows) > 20
    assert [row for row in rows if not NAMED.search(row)] == []
