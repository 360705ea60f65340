"""What holds for every script: it runs in plain sh, says what it does, and passes shellcheck."""

from __future__ import annotations

import subprocess

import pytest

from tests.scripts.conftest import ROOT
from tests.support.require import require_program

SHELL_SCRIPTS = sorted(
    file
    for folder in ("scripts", ".ci")
    for file in (ROOT / folder).iterdir()
    if file.is_file() and file.read_bytes().startswith(b"#!/bin/sh")
)


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    program = require_program("shellcheck", package="shellcheck")
    done = subprocess.run([program, "--shell=sh", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_it_can_be_executed_and_begins_with_what_it_does(script):
    assert script.stat().st_mode & 0o111 == 0o111
    lines = script.read_text().splitlines()
    assert lines[1].startswith("# ")
    assert "set -eu" in lines


@pytest.mark.parametrize("name", ["setup", "test", "check", "bench", "chaos"])
def test_help_installs_nothing(name, host):
    host.real("date")
    done = host.run(str(ROOT / "scripts" / name), "--help")
    assert done.returncode == 0
    assert f"scripts/{name}" in done.stdout


def test_an_unknown_benchmark_is_refused_with_the_known_ones(host):
    done = host.run(str(ROOT / "scripts" / "bench"), "nonsense")
    assert done.returncode == 2
    assert "latency" in done.stderr
