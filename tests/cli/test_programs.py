"""Programs as forks of supervisord's process. The forks are made from a small process of the test's own: `BEGIN`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli import programs

BEGIN = """
import json, os, signal, sys
from types import ModuleType
from cli import programs

NAME = "heartbeat"
COMMAND = [sys.executable, "-I", "-m", NAME]

def run(main):
    "Be the program in a fork, with `main` in place of its own; what it wrote, and its exit status."
    fake = ModuleType(NAME + ".__main__")
    fake.main = main
    sys.modules[fake.__name__] = fake
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writing, 1)
        programs.become(NAME, COMMAND, {"PATH": os.environ["PATH"], "NEW": "here", "CHANGED": "new"})
    os.close(writing)
    text = os.fdopen(reading).read()
    return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def in_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(programs.NAMES))
def test_each_program_of_the_configuration_is_known(name):
    assert programs.named([sys.executable, "-I", "-m", name]) == name


@pytest.mark.parametrize(
    "command",
    [
        ["/usr/bin/python3", "-I", "-m", "poller"],
        [sys.executable, "-m", "poller"],
        [sys.executable, "-I", "-m", "cli.redis_server"],
        [sys.executable, "-I", "-m"],
        [sys.executable, "-I", "-m", "poller", "--option"],
        ["cat"],
        [],
    ],
)
def test_everything_else_is_executed(command):
    assert programs.named(command) is None


def test_it_is_as_after_an_exec():
    said = in_python(
        BEGIN
        + """
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(os.pipe2(os.O_NONBLOCK)[1])
def main():
    command = open("/proc/self/cmdline", "rb").read().rstrip(b"\\0").split(b"\\0")
    print(json.dumps({
        "environment": dict(os.environ), "arguments": sys.argv, "command": [part.decode() for part in command],
        "signals": [signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "wakeup": signal.set_wakeup_fd(-1),
    }))
    return 0
text, code = run(main)
assert code == 0, (text, code)
print(text)
""",
        GONE="is gone",
        CHANGED="old",
    )
    found = json.loads(said)
    assert found["environment"] == {"PATH": os.environ["PATH"], "NEW": "here", "CHANGED": "new"}
    assert found["arguments"] == ["heartbeat"]
    assert found["command"] == [sys.executable, "-I", "-m", "heartbeat"]
    assert found["signals"] == [True, True, True]
    assert found["interrupt"]
    assert found["wakeup"] == -1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 0", 0),
        ("return 3", 3),
        ("sys.exit(2)", 2),
        ("sys.exit()", 0),
        ("sys.exit('why')", 1),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
    ],
)
def test_its_end_is_the_processs_end(body, code):
    assert in_python(f"{BEGIN}\ndef main():\n    {body}\nprint(run(main)[1])") == f"{code}\n"


def test_a_command_line_that_does_not_fit_changes_nothing():
    assert in_python(
        "from pathlib import Path\nfrom cli.programs import rename\n"
        "before = Path('/proc/self/cmdline').read_bytes()\n"
        "print(rename(['x' * 10_000]), Path('/proc/self/cmdline').read_bytes() == before)"
    ) == "False True\n"  # fmt: skip


@pytest.fixture(scope="module")
def modules() -> set[str]:
    """What is loaded once everything is preloaded."""
    code = "import json, sys\nfrom cli import programs\nprograms.preload()\nprint(json.dumps([m for m in sys.modules if sys.modules[m]]))"
    return set(json.loads(in_python(code)))


class TestPreload:
    def test_the_programs_themselves_are_shared(self, modules):
        assert {f"{name}.__main__" for name in programs.NAMES} <= modules

    @pytest.mark.parametrize(
        "module",
        ["fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "controlplane", "rich", "pygments", "asyncssh"],
    )
    def test_what_no_program_needs_at_its_start_is_not_loaded(self, modules, module):
        assert module not in modules

    def test_what_supervisord_leaves_behind_afterwards_is_collected(self):
        """Each question to its socket leaves objects that refer to one another."""
        assert (
            in_python(
                "import weakref\nfrom cli import programs\nprograms.preload()\n"
                "class Connection: pass\n"
                "def ask():\n"
                "    connection = Connection()\n"
                "    connection.itself = connection\n"
                "    return weakref.ref(connection)\n"
                "asked = [ask() for _ in range(10_000)]\n"
                "print(sum(connection() is not None for connection in asked) < 5_000)"
            )
            == "True\n"
        )

    def test_it_runs_without_settings_and_starts_no_thread(self):
        assert (
            in_python("import threading\nfrom cli import programs\nprograms.preload()\nprint(threading.active_count())")
            == "1\n"
        )


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("heartbeat", {"fastapi", "uvicorn", "uvloop", "workers", "vault", "cryptography.hazmat"}),
        ("poller", {"fastapi", "uvicorn", "workers", "vault", "admin"}),
        ("admin", {"fastapi", "starlette", "uvicorn", "httpx", "redis", "rq", "workers"}),
        ("workers", {"fastapi", "uvicorn", "poller", "admin", "uvloop"}),
    ],
)
def test_a_program_imports_what_its_role_needs(program, absent):
    """As far as it is imported before it begins: memory that each would hold if it were started by itself."""
    code = f"import json, sys, {program}.__main__\nprint(json.dumps(sorted(sys.modules)))"
    assert not absent & set(json.loads(in_python(code)))
