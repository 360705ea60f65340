"""`docs/security.md` names only tests there are, and has something to say in every row."""

from tests.docs.named_tests import NAMED, ROOT, missing

PAGE = (ROOT / "docs/security.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if row[0] != "What went wrong elsewhere"]


def test_every_test_it_names_exists():
    assert len(set(NAMED.findall(PAGE))) > 50
    assert missing(PAGE) == []


def test_every_row_is_shown_by_a_test_or_marked_open():
    assert len(ROWS) == 24 + 17 + 26
    for row in ROWS:
        assert len(row) == 3, row
        assert NAMED.search(row[2]) or "**Open**" in row[1], row[0]
        assert not NAMED.sub("", row[2]).strip(", \N{EN DASH}"), f"{row[0]}: what is no test belongs in the middle"
