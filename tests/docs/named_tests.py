"""The tests that a page names, and whether they exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
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


def missing(page):
    """Those it names and that are not there."""
    named = sorted(set(NAMED.findall(page)))
    return [f"{path}::{name}" for path, name in named if not (ROOT / path).is_file() or name not in defined(path)]
