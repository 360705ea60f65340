import subprocess
import sys

import pytest

from easyalert import hardening
from easyalert.settings import AgentSettings


def in_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_hardened_process_dumps_no_core():
    code = (
        "import ctypes, resource; from easyalert.hardening import harden; harden()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert in_python(code).stdout == "0 (0, 0)\n"


def test_a_child_is_told_when_its_parent_dies():
    code = (
        "import os, sys, signal\n"
        "from easyalert.hardening import die_with_parent\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'told'), os._exit(0)))\n"
        "    die_with_parent(); os.write(write, b'x'); signal.pause()\n"
        "os.read(read, 1); os._exit(0)"
    )
    assert in_python(code).stdout == "told"


def test_a_subreaper_inherits_double_forked_daemons():
    code = (
        "import os; from easyalert.hardening import become_subreaper; become_subreaper()\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.read(read, 1); os.write(1, str(os.getppid()).encode()); os._exit(0)\n"
        "    os._exit(0)\n"
        "os.wait(); os.write(write, b'x'); os.wait(); os.write(1, b' ' + str(os.getpid()).encode())"
    )
    parent, reaper = in_python(code).stdout.split()
    assert parent == reaper


def test_a_refused_prctl_is_an_os_error():
    with pytest.raises(OSError, match="Invalid argument"):
        hardening._prctl(-1, 0)


@pytest.mark.parametrize(("named", "alive"), [("", True), ("parent", True), ("1", False), ("nonsense", True)])
def test_a_supervisor_that_is_gone_already_is_noticed(named, alive):
    code = (
        "import os, sys\n"
        f"named = {named!r}\n"
        "os.environ['EASYALERT_SUPERVISOR_PID'] = str(os.getpid()) if named == 'parent' else named\n"
        "from easyalert.hardening import follow_supervisor\n"
        "if os.fork() == 0:\n"
        "    os.write(1, str(follow_supervisor()).encode()); os._exit(0)\n"
        "os.wait()"
    )
    assert in_python(code).stdout == str(alive)


def test_secrets_are_in_no_process_list_and_still_known_to_the_program():
    code = (
        "import os, ctypes; from pathlib import Path; from easyalert.hardening import harden; harden(); harden()\n"
        "shown = Path('/proc/self/environ').read_bytes()\n"
        "print(b'c4n4ry' in shown, b'KEPT=plain-value' in shown, len(shown) > 100, os.environ['AGENT_API_KEY'], flush=True)\n"
        "if os.fork() == 0:\n"
        "    print(b'c4n4ry' in Path('/proc/self/environ').read_bytes(), os.environ['https_proxy'], flush=True); os._exit(0)\n"
        "os.wait()"
    )
    names = [*hardening.SECRET_VARIABLES, "https_proxy", "ALL_PROXY"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**dict.fromkeys(names, "c4n4ry-value"), "EMPTY": "", "KEPT": "plain-value", "PATH": "x" * 200},
        capture_output=True,
        text=True,
        check=False,
    )
    assert sorted(done.stdout.splitlines()) == ["False True True c4n4ry-value", "False c4n4ry-value"], done.stderr


def test_every_secret_among_the_settings_is_one_of_these_variables():
    secret = {
        name.upper() for name, field in AgentSettings.model_fields.items() if "SecretStr" in str(field.annotation)
    }
    assert secret <= hardening.SECRET_VARIABLES
