"""`docs/security.md` names only tests there are, and has something to say in every row."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if row[0] != "What went wrong elsewhere"]
NAMED = re.compile(r"`(tests/[^`]+\.py)::([^`]+)`")


def defined(path):
    """The tests of a file, as pytest names them without parameters."""
    found = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                node.name,
                *(f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)),
            }
    return {name for name in found if name.rpartition("::")[2].startswith(("test_", "Test"))}


def test_every_test_it_names_exists():
    named = {(path, name) for path, name in NAMED.findall(PAGE)}
    assert len(named) > 50
    missing = [
        f"{path}::{name}" for path, name in sorted(named) if not (ROOT / path).is_file() or name not in defined(path)
    ]
    assert missing == []


def test_every_row_is_shown_by_a_test_or_marked_open():
    assert len(ROWS) == 17 + 26
    for row in ROWS:
        assert len(row) == 3, row
        assert NAMED.search(row[2]) or "**Open**" in row[1], row[0]
        assert not NAMED.sub("", row[2]).strip(", \N{EN DASH}"), f"{row[0]}: what is no test belongs in the middle"
