from __future__ import annotations

import os
import shutil
import sys
import time
from typing import ClassVar

import pytest

from easyalert.errors import Fault
from workers.executors.script import Script
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import SECRET, Harness

pytestmark = pytest.mark.system


@pytest.fixture
def harness(tmp_path):
    return Harness(Script(), tmp_path)


class TestContract(ExecutorContract):
    executor = Script
    samples: ClassVar = {
        "bash": {"script": "exit 7", "env": {"A": "b"}},
        "python": {"script": "print(1)", "args": ["x"]},
        "powershell": {"script": "exit 0"},
    }


def test_output_and_exit_code_come_back(harness):
    ran = harness.run("bash", {"script": "echo out; echo err >&2; exit 3"})
    assert ran.recorded["status"] == "error"
    assert ran.recorded["exitCode"] == 3
    assert ran.error == "err"
    assert ran.recorded["output"] == {"stdout": "out\n", "stderr": "err\n", "truncated": False}
    assert ran.result.fault is Fault.JOB


def test_a_failure_without_stderr_still_says_something(harness):
    assert "exit code 4" in harness.run("bash", {"script": "exit 4"}).error


def test_a_signal_is_named(harness):
    ran = harness.run("bash", {"script": "kill -SEGV $$"})
    assert ran.recorded["exitCode"] == -11
    assert "SIGSEGV" in ran.error


def test_python_is_not_the_agents_own(harness):
    ran = harness.run("python", {"script": "import sys; print(sys.prefix); import workers"})
    assert ran.recorded["output"]["stdout"].strip() != sys.prefix
    assert "No module named 'workers'" in ran.recorded["output"]["stderr"]


def test_powershell_runs_or_says_what_is_missing(harness):
    if shutil.which("pwsh") is None:
        ran = harness.run("powershell", {"script": "exit 0"})
        assert ran.recorded["exitCode"] == -1
        assert "pwsh" in ran.error
        assert ran.result.fault is Fault.AGENT
        return
    assert harness.run("powershell", {"script": "exit 5"}).recorded["exitCode"] == 5


PWSH = """#!/bin/bash
# takes what PowerShell takes from us and no more: these options in this order, then a script that can be read
[ "$1 $2 $3 $4" = "-NoLogo -NoProfile -NonInteractive -File" ] || { echo "The argument '$1' is not recognized" >&2; exit 64; }
shift 4
case "$1" in *.ps1) ;; *) echo "Processing -File '$1' failed: the file does not have a '.ps1' extension." >&2; exit 64 ;; esac
[ -r "$1" ] || exit 64
cat "$1"; echo
shift
printf 'argument=%s\\n' "$@"
echo "variable=$GREETING"
[ -t 0 ] && echo "asks"
exit "${CODE:-0}"
"""


@pytest.fixture
def pwsh(tmp_path, monkeypatch):
    """PowerShell cannot be had everywhere: a program of its name that checks how it is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pwsh").write_text(PWSH)
    (folder / "pwsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_powershell_is_called_as_it_should_be(pwsh, tmp_path):
    (tmp_path / "jobs").mkdir()
    script = {"script": "Write-Output 'hello'", "args": ["a b", 7, "-File"], "env": {"GREETING": "hi", "CODE": "0"}}
    ran = Harness(Script(), tmp_path / "jobs").run("powershell", script)
    lines = ["Write-Output 'hello'", "argument=a b", "argument=7", "argument=-File", "variable=hi"]
    assert ran.recorded["output"]["stdout"].splitlines() == lines, ran.recorded
    assert (ran.recorded["status"], ran.recorded["exitCode"]) == ("success", 0)


def test_powershells_exit_code_is_the_results(pwsh, tmp_path):
    (tmp_path / "jobs").mkdir()
    ran = Harness(Script(), tmp_path / "jobs").run("powershell", {"script": "exit 5", "env": {"CODE": "5"}})
    assert (ran.recorded["status"], ran.recorded["exitCode"]) == ("error", 5)
    assert "pwsh: exit code 5" in ran.error


def test_arguments_are_text_and_what_is_none_is_skipped(harness):
    ran = harness.run("bash", {"script": 'printf "%s|" "$@"', "args": ["a b", 1, 2.5, True, {"x": 1}, None, ["y"]]})
    assert ran.recorded["output"]["stdout"] == "a b|1|2.5|True|"


def test_a_plain_string_is_one_argument(harness):
    assert harness.run("bash", {"script": "echo $#", "args": "abc"}).recorded["output"]["stdout"] == "1\n"


def test_nothing_of_the_agents_environment_reaches_a_script(harness, monkeypatch):
    """Defect C1."""
    monkeypatch.setenv("AGENT_API_KEY", "ea_agent_canary")
    monkeypatch.setenv("ADMIN_TOKEN", "canary")
    monkeypatch.setenv("BASH_ENV", "/nonexistent")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ran = harness.run("bash", {"script": "env"})
    seen = dict(line.split("=", 1) for line in ran.recorded["output"]["stdout"].splitlines())
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "USER", "LOGNAME", "SHELL", "TZ", "EASYALERT_JOB", "PWD", "SHLVL", "_"}
    assert {name for name in seen if not name.startswith("LC_")} <= allowed
    assert seen["TZ"] == "Asia/Tokyo"
    assert seen["HOME"] == seen["PWD"]


def test_variables_of_the_job_arrive(harness):
    ran = harness.run("bash", {"script": 'echo "$GREETING $N"', "env": {"GREETING": "hello", "N": 5}})
    assert ran.recorded["output"]["stdout"] == "hello 5\n"


@pytest.mark.parametrize(
    "name",
    ["BASH_ENV", "ENV", "LD_AUDIT", "LD_PRELOAD", "PYTHONSTARTUP", "PYTHONHOME", "NODE_OPTIONS", "PERL5OPT", "path",
     "Home", "SHELLOPTS", "BASH_FUNC_ls", "EASYALERT_JOB", "DYLD_LIBRARY_PATH", "USER", "SHELL", "PS4", "IFS"],
)  # fmt: skip
def test_variables_that_change_which_code_runs_are_refused(harness, name, caplog):
    """Defect C14."""
    ran = harness.run("bash", {"script": f'echo "[${{{name}}}]"', "env": {name: "canary-value"}})
    assert "canary-value" not in ran.recorded["output"]["stdout"]
    assert ran.recorded["status"] == "success"
    assert name in caplog.text
    assert "canary-value" not in caplog.text


@pytest.mark.parametrize(
    "env",
    [
        {"A B": "x"}, {"": "x"}, {"A=": "x"}, {"A\n": "x"}, {"\nA": "x"}, {"A": "x\0y"}, {"A": {"b": 1}}, ["A=b"],
        {"A": "x\ud800"}, {"A": "x" * 131_070}, {f"A{n}": "x" * 100_000 for n in range(11)},
    ],
)  # fmt: skip
def test_an_environment_that_cannot_be_is_refused_by_name(harness, env):
    ran = harness.run("bash", {"script": "true", "env": env})
    assert ran.recorded["exitCode"] == -1
    assert "'env" in ran.error


@pytest.mark.parametrize(
    "args",
    ["x\0y", ["x\0y"], ["x\ud800"], ["x" * 131_072], ["x" * 100_000] * 11, {"a": 1}, 7],
    ids=["nul", "nul in one", "no character", "long", "long together", "object", "number"],
)
def test_arguments_that_cannot_be_are_refused_by_name(harness, args):
    ran = harness.run("bash", {"script": "true", "args": args})
    assert ran.recorded["exitCode"] == -1
    assert "'args" in ran.error
    assert len(ran.error) < 200


def test_the_longest_that_can_be_arrive(harness):
    texts = {"args": ["x" * 131_071, *["y" * 100_000] * 9], "env": {"A": "x" * 131_069, "B": "y" * 100_000}}
    ran = harness.run("bash", {"script": "echo ${#1} ${#2} $# ${#A}", **texts})
    assert ran.recorded["output"]["stdout"] == "131071 100000 10 131069\n", ran.recorded


@pytest.mark.parametrize("script", ["", "  \n", None, 5.5, ["x"], "echo\0", "echo \ud800"])
def test_a_script_has_to_be_there(harness, script):
    ran = harness.run("bash", {"script": script})
    if script == 5.5:
        assert ran.recorded["exitCode"] == 127
    else:
        assert ran.recorded["exitCode"] == -1
        assert "'script'" in ran.error


def test_a_script_larger_than_a_mebibyte_is_refused(harness):
    ran = harness.run("bash", {"script": "#" * (1_048_576 + 1)})
    assert ran.recorded["exitCode"] == 1
    assert ran.recorded["status"] == "error"
    assert harness.run("bash", {"script": "#" * 1_048_576}).recorded["status"] == "success"


def test_the_script_lies_in_a_private_folder_that_is_gone_afterwards(harness, tmp_path):
    ran = harness.run("bash", {"script": 'stat -c %a "$0" "$(dirname "$0")" .; echo "$0"; touch left-over'})
    *modes, path = ran.recorded["output"]["stdout"].split()
    assert modes == ["700", "700", "700"]
    assert path.startswith(str(tmp_path / f"easyalert_{os.getpid()}_"))
    assert list(tmp_path.iterdir()) == []


def test_it_reads_nothing_from_the_agents_standard_input(harness):
    assert harness.run("bash", {"script": "cat; echo $?"}).recorded["output"]["stdout"] == "0\n"


def test_files_it_writes_have_ordinary_modes(harness, tmp_path):
    file = tmp_path / "written"
    harness.run("bash", {"script": f"touch {file}"})
    assert oct(file.stat().st_mode & 0o777) == "0o644"


def test_a_time_out_keeps_what_was_printed(harness):
    """Defects A23 and B1."""
    ran = harness.run("bash", {"script": "echo before; sleep 30", "timeout": 1}, timeout_s=1)
    assert ran.recorded["exitCode"] == -1
    assert "1 seconds" in ran.error
    assert ran.recorded["output"]["stdout"] == "before\n"
    assert ran.result.outcome == "timed_out"
    assert ran.recorded["durationMs"] < 15_000  # it would take 30 s


def test_a_cancelled_job_ends(tmp_path):
    began = time.monotonic()
    harness = Harness(Script(), tmp_path, cancelled=lambda: time.monotonic() > began + 0.2)
    ran = harness.run("bash", {"script": "echo before; sleep 30"})
    assert ran.result.outcome == "cancelled"
    assert ran.recorded["output"]["stdout"] == "before\n"
    assert time.monotonic() - began < 15, "it would take 30 s"


def test_the_end_does_not_wait_for_others_that_hold_the_pipes(harness):
    """Defect B2."""
    began = time.monotonic()
    ran = harness.run("bash", {"script": "(trap '' TERM; sleep 30) & disown; echo done"})
    assert ran.recorded["output"]["stdout"] == "done\n"
    assert time.monotonic() - began < 15, "they hold them for 30 s"


def test_endless_output_costs_little_memory_and_keeps_the_end(harness):
    """Defects A17 and B7."""
    ran = harness.run("bash", {"script": "echo first; head -c 60000000 /dev/zero | tr '\\0' 'x'; echo; echo last"})
    output = ran.recorded["output"]
    assert output["truncated"] is True
    assert output["originalStdoutSize"] == 60_000_000 + len("first\n\nlast\n")
    assert output["stdout"].startswith("first\n")
    assert output["stdout"].endswith("last\n")
    assert len(output["stdout"]) < 1_100_000


def test_a_huge_stderr_is_not_copied_into_the_error(harness):
    """Defect A18: the whole of it is in the output."""
    ran = harness.run("bash", {"script": "head -c 3000000 /dev/zero | tr '\\0' 'e' >&2; exit 1"})
    assert len(ran.error) <= 500
    assert ran.recorded["output"]["originalStderrSize"] == 3_000_000
    assert ran.recorded["output"]["stderr"].count("e") > 1_000_000


def test_bytes_that_are_no_text_do_not_hide_the_rest(harness):
    """Defect A2."""
    ran = harness.run("bash", {"script": r"printf 'caf\xe9 ok\n'"})
    assert ran.recorded["output"]["stdout"] == "caf\ufffd ok\n"


def test_secrets_are_taken_out_before_anything_is_cut(harness):
    script = f"for i in $(seq 60000); do echo 'a line with {SECRET} in it'; done; echo {SECRET} >&2; exit 1"
    ran = harness.run("bash", {"script": script})
    assert SECRET not in str(ran.recorded)
    assert SECRET[:10] not in str(ran.recorded)
    assert ran.recorded["output"]["redactions"] > 60000


def test_a_full_disk_or_a_missing_folder_is_the_agents_fault(tmp_path):
    ran = Harness(Script(), tmp_path / "missing").run("bash", {"script": "true"})
    assert ran.recorded["exitCode"] == -1
    assert ran.result.fault is Fault.AGENT
