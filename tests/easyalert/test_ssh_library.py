"""How asyncssh is imported: each time in a fresh Python."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import logging, subprocess, sys
logging.basicConfig(level=logging.DEBUG)
started = []
sys.addaudithook(lambda name, given: started.append(given) if name in {"subprocess.Popen", "os.system", "os.exec"} else None)
from easyalert.ssh_library import asyncssh
import ctypes.util
print(len(started), logging.getLogger("asyncssh").isEnabledFor(logging.INFO), ctypes.util.find_library.__name__)
"""


def test_no_program_is_started_and_the_search_is_back_afterwards():
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "False", "find_library"]


def test_nothing_of_ours_imports_it_otherwise():
    found = subprocess.run(
        ["git", "grep", "-l", "-E", "^ *(import asyncssh|from asyncssh)", "--", "*.py", ":!tests"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["easyalert/ssh_library.py"]
