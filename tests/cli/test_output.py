"""Standard output of every kind, in a process of its own: what is under test replaces descriptors."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import eventually

# what supervisord and its programs do: each opens the descriptor by name and writes
SCRIPT = """
import os, sys
from cli import output
relays = output.make_reopenable()
print("first", flush=True)
for descriptor in (1, 2):
    again = os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_APPEND)
    os.write(again, f"again {descriptor}\\n".encode())
print("last", len(relays), flush=True)
output.wait_for(relays)
"""


def run(stdout: object, stderr: object) -> int:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=stdout, stderr=stderr, timeout=20, check=False
    ).returncode


def test_a_pipe_needs_no_relay():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "first\nagain 1\nlast 0\n"
    assert done.stderr == "again 2\n"


def test_a_file_is_appended_to_by_everyone(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as file:  # as `run >log 2>&1` opens it: not for appending
        assert run(file, file) == 0
    assert sorted(path.read_text().splitlines()) == ["again 1", "again 2", "first", "last 0"]


def test_a_socket_gets_one_relay_for_both(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert run(theirs, theirs) == 0
        theirs.close()
        ours.settimeout(10)
        received = b""
        while data := ours.recv(4096):
            received += data
    assert received.decode().splitlines() == ["first", "again 1", "again 2", "last 1"]


def test_two_sockets_get_a_relay_each():
    pairs = [socket.socketpair() for _ in range(2)]
    assert run(pairs[0][1], pairs[1][1]) == 0
    for _, theirs in pairs:
        theirs.close()
    texts = []
    for ours, _ in pairs:
        ours.settimeout(10)
        texts.append(ours.makefile().read())
        ours.close()
    assert texts == ["first\nagain 1\nlast 2\n", "again 2\n"]


def test_a_terminal():
    primary, secondary = pty.openpty()
    assert run(secondary, secondary) == 0
    received = os.read(primary, 4096).decode().replace("\r\n", "\n")
    assert received == "first\nagain 1\nagain 2\nlast 0\n"
    os.close(primary)
    os.close(secondary)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_relay_outlives_the_signals_that_end_the_agent(number):
    script = (
        "import os, sys\n"
        "from cli import output\n"
        "(relay,) = output.make_reopenable()\n"
        "print(relay, flush=True)\n"
        "sys.stdin.readline()\n"
        "print('still here', flush=True)\n"
        "output.wait_for([relay])\n"
    )
    ours, theirs = socket.socketpair()
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs)
    theirs.close()
    ours.settimeout(10)
    with ours, ours.makefile() as lines:
        relay = int(lines.readline())
        eventually(lambda: Path(f"/proc/{relay}/comm").read_text() == "cat\n")
        os.kill(relay, number)
        child.communicate(b"\n", timeout=10)
        assert lines.readline() == "still here\n"
