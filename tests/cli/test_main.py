from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cli import __main__ as entry
from cli.__main__ import main
from easyalert import __version__, runtime
from easyalert.errors import AgentFault, ConfigurationError
from tests.cli.agent_process import COMMAND


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"easyalert-agent {__version__}\n"


def test_no_command_shows_the_help(capsys):
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_the_documented_exit_codes_are_the_constants():
    documented = {line.split()[0]: line for line in entry.EXIT_CODES.splitlines() if line[:3].strip().isdecimal()}
    assert set(documented) == {
        str(code)
        for code in (
            runtime.EXIT_OK,
            runtime.EXIT_FAILURE,
            runtime.EXIT_CONFIGURATION,
            runtime.EXIT_NOT_RUNNING,
            runtime.EXIT_DEGRADED,
            runtime.EXIT_REFUSED,
        )
    }
    assert "no agent runs" in documented[str(runtime.EXIT_NOT_RUNNING)]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigurationError("do this"), 2), (AgentFault("that broke"), 1), (PermissionError(13, "no", "/x"), 1)],
)
def test_errors_are_sentences(monkeypatch, capsys, error, code):
    import cli.jobs

    def fail(_options):
        raise error

    monkeypatch.setattr(cli.jobs, "main", fail)
    assert main(["jobs"]) == code
    err = capsys.readouterr().err
    assert err.startswith("easyalert-agent: ")
    assert "Traceback" not in err


def test_help_answers_at_once():
    best = min(_timed_help() for _ in range(3))
    assert best < 0.3


def _timed_help() -> float:
    begun = time.monotonic()
    subprocess.run([COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def test_help_imports_nothing_heavy():
    script = (
        "import sys, contextlib, io; from cli.__main__ import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        "print([m for m in ('pydantic', 'redis', 'asyncio', 'supervisor', 'cryptography') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
