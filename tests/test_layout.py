"""The rules of the tree that no linter knows: where tests are, how big things may get, what may be committed."""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from easyalert.runtime import OUR_PACKAGES

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

TESTED_ELSEWHERE = {
    "controlplane/migrations/env.py": "run by every test that makes a database; tests/controlplane/models/test_migrate.py",
    "easyalert/protocol/features.py": "names only",
    "easyalert/protocol/paths.py": "names only; used against servers in tests/easyalert/test_client.py",
}
"""Modules without a test file of their own, each with the reason. `__init__.py` with imports only and `__main__.py`
(wiring) need none."""

NOT_INSTALLED = {"docs", "bench", "chaos", "deploy", "tests"}
"""Folders of Python at the root that are no part of the wheel."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "place" + "holder", "NotImplemented" + "Error")))
WORKPLACE = re.compile("|".join(("/wo" + "rk/", r"\.\./sha" + "red", r"\bissue" + r" #?\d", "/ro" + "ot/")))
"""Machine paths and words of one workplace: nobody else can follow them."""


def tracked(*patterns):
    """The files under version control; where there is no git, or no checkout, all that would be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        wanted = [*patterns, *(f"{pattern}/*" for pattern in patterns)] or ["*"]  # a folder means all in it, as for git
        return [path for path in unpacked() if any(fnmatch(relative(path), pattern) for pattern in wanted)]
    done = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def unpacked():
    """Every file of an unpacked source archive that `.gitignore` does not name."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name != ".git" and not any(fnmatch(name, p) for p in ignored)]
        yield from (Path(folder) / name for name in sorted(files) if not any(fnmatch(name, p) for p in ignored))


def product_modules():
    return [path for package in OUR_PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def has_behaviour(path):
    tree = ast.parse(path.read_text("utf-8"))
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))


def needs_test(path):
    if path.name == "__main__.py" or relative(path) in TESTED_ELSEWHERE or "versions" in path.parts:
        return False
    return has_behaviour(path)


def mirrored_test(path):
    place = path.relative_to(ROOT)
    # tests of an `__init__.py` carry the package's name
    name = place.parent.name if place.name == "__init__.py" else place.stem.lstrip("_")
    return ROOT / "tests" / place.parent / f"test_{name}.py"


@pytest.mark.parametrize("path", [p for p in product_modules() if needs_test(p)], ids=relative)
def test_every_module_with_behaviour_has_its_test_file(path):
    assert mirrored_test(path).is_file(), f"{relative(path)} needs {relative(mirrored_test(path))}"


@pytest.mark.parametrize("name", sorted(TESTED_ELSEWHERE))
def test_exemptions_are_still_true(name):
    assert (ROOT / name).is_file(), "remove it from the list"
    assert not mirrored_test(ROOT / name).exists(), "it has a test file now: remove it from the list"


def test_every_folder_of_tests_is_a_package():
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    missing = [relative(folder) for folder in folders if not (folder / "__init__.py").is_file()]
    assert missing == [], "without it, tests/vault would shadow vault"


def test_no_module_has_a_name_that_says_nothing():
    named = [relative(path) for path in tracked("*.py") if {path.stem, path.parent.name} & FORBIDDEN_NAMES]
    assert named == []


@pytest.mark.parametrize("path", [p for p in product_modules() if p.parent.name != "versions"], ids=relative)
def test_modules_and_functions_stay_small(path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    "path", [p for p in product_modules() if p.name == "__init__.py" and p.parent.name != "versions"], ids=relative
)
def test_every_package_has_its_charter(path):
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring, "a package's docstring says what belongs in it"
    assert docstring.rstrip().endswith((".", ")", "`"))


def test_nothing_unfinished_is_committed():
    found = [
        f"{relative(path)}:{number}: {line.strip()[:80]}"
        for path in tracked("*.py", "*.sh", "scripts/*", "*.toml", "*.conf")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_nothing_committed_names_one_machine_or_workplace():
    found = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{relative(path)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if WORKPLACE.search(line)
        ]
    assert found == []


# ---- packaging and import contracts ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_packages_are_the_same_everywhere(pyproject):
    ours = sorted(OUR_PACKAGES)
    assert sorted(name.rstrip("*") for name in pyproject["tool"]["setuptools"]["packages"]["find"]["include"]) == ours
    assert sorted({*pyproject["tool"]["importlinter"]["root_packages"]} - NOT_INSTALLED) == ours
    assert sorted({*pyproject["tool"]["mypy"]["packages"]} - NOT_INSTALLED) == ours
    assert sorted({path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_INSTALLED) == ours


MAY_USE = {
    "vault": {"errors"},
    # `spellings` and `wrapping` are parts of `redact`; `files` is how anything durable is written, on either side
    "controlplane": {
        "protocol",
        "errors",
        "logs",
        "redact",
        "spellings",
        "wrapping",
        "files",
        "crashpoints",
        "hardening",
    },
}
"""Of `easyalert`, by room; every other module of it is forbidden there (ARCHITECTURE.md, "Rooms")."""


@pytest.mark.parametrize("room", sorted(MAY_USE))
def test_a_new_module_of_the_vocabulary_is_forbidden_where_it_does_not_belong(pyproject, room):
    package = importlib.import_module("easyalert")
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    forbidden = {
        name.removeprefix("easyalert.")
        for contract in pyproject["tool"]["importlinter"]["contracts"]
        if contract["type"] == "forbidden" and contract["source_modules"] == [room]
        for name in contract["forbidden_modules"]
    }
    assert modules - MAY_USE[room] <= forbidden


def test_every_room_has_a_contract_against_every_other(pyproject):
    may_import = {
        "easyalert": set(),
        "vault": {"easyalert"},
        "poller": {"easyalert"},
        "heartbeat": {"easyalert"},
        "workers": {"easyalert", "vault"},
        "admin": {"easyalert", "vault"},
        "cli": {"easyalert", "vault"},
        "controlplane": {"easyalert"},
    }
    forbidden = {(room, room) for room in OUR_PACKAGES}
    for contract in pyproject["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "forbidden":
            forbidden |= {(s, f) for s in contract["source_modules"] for f in contract["forbidden_modules"]}
        elif contract["type"] == "independence":
            forbidden |= {(s, f) for s in contract["modules"] for f in contract["modules"]}
    wanted = {(room, other) for room in OUR_PACKAGES for other in OUR_PACKAGES if other not in may_import[room]}
    assert wanted <= forbidden


@pytest.mark.system
def test_the_wheel_carries_every_package_and_the_process_list(tmp_path):
    source = tmp_path / "source"
    for path in tracked():
        place = source / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])",
            ),
            str(tmp_path),
        ],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {relative(path) for path in tracked(*OUR_PACKAGES) if path.suffix == ".py"}
    assert modules <= names
    assert not any(name.startswith("tests/") for name in names)
    assert any(name.endswith("data/share/easyalert/supervisord.conf") for name in names)
    assert "easyalert/py.typed" in names
