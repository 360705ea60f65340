"""Ten things a script may try against the agent that runs it. Each is a script for `script.python` that prints
`REACHED`, and how, when it got there, and nothing else that matters.

A probe knows what somebody who knows the product could find out: paths, and the agent's pids as they are outside.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMES: Final = (
    "environment",
    "processEnvironment",
    "processTrace",
    "processMemory",
    "vault",
    "journal",
    "adminToken",
    "redisSocket",
    "supervisorSocket",
    "configuration",
)
"""As the heartbeat and docs/isolation.md name them."""


@dataclass(frozen=True)
class Facts:
    """About the agent under attack."""

    state_dir: str
    configuration: str
    """Its `.env`, which holds the key."""
    api_key: str
    pids: tuple[int, ...]


_HEAD = """
import ctypes, hashlib, os, socket
FACTS = {facts}
KEY = FACTS["key_digest"]
def reached(how):
    print("REACHED", how); raise SystemExit
def is_key(value):
    return hashlib.sha256(value).hexdigest() == KEY
def others():
    # inside a namespace the pids of outside mean nothing: then everybody in there
    seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for pid in [pid for pid in FACTS["pids"] if pid in seen] or seen:
        if pid != os.getpid():
            yield pid
def try_file(path):
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        print("no", path, error.strerror)
        return b""
    print(len(data), "bytes of", path)
    return data
def try_socket(path):
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(path)
        except OSError as error:
            print("no", path, error.strerror)
        else:
            reached(path)
"""

_BODIES: Final = {
    "environment": """
for source in (os.environb.values(), [e.partition(b"=")[2] for e in try_file("/proc/self/environ").split(b"\\0")]):
    if any(is_key(value) for value in source):
        reached("own environment")
""",
    "processEnvironment": """
for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
    try:
        entries = open(f"/proc/{pid}/environ", "rb").read().split(b"\\0")
    except OSError:
        continue
    if any(is_key(entry.partition(b"=")[2]) for entry in entries):
        reached(f"environment of {pid}")
""",
    "processTrace": """
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE = 0x4206
for pid in others():
    if libc.ptrace(SEIZE, pid, None, None) == 0:
        reached(f"traces {pid}")
    print("no", pid, os.strerror(ctypes.get_errno()))
""",
    "processMemory": """
for pid in others():
    try:
        ranges = [line.split()[0] for line in open(f"/proc/{pid}/maps") if "[heap]" in line or "[stack]" in line]
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            memory.seek(int(ranges[0].split("-")[0], 16))
            if memory.read(64):
                reached(f"memory of {pid}")
    except (OSError, IndexError) as error:
        print("no", pid, error)
""",
    "vault": """
if try_file(FACTS["state"] + "/vault.json"): reached("vault")
""",
    "journal": """
for name in ("journal.sqlite3", "journal.sqlite3-wal", "agent_key.json"):
    if try_file(FACTS["state"] + "/" + name): reached(name)
for name in ("output", "audit"):
    if os.path.isdir(FACTS["state"] + "/" + name) and os.listdir(FACTS["state"] + "/" + name): reached(name)
""",
    "adminToken": """
if try_file(FACTS["state"] + "/admin_token").strip(): reached("admin token")
""",
    "redisSocket": """
if try_file(FACTS["state"] + "/run/redis_password"): reached("password")
try_socket(FACTS["state"] + "/run/redis.sock")
""",
    "supervisorSocket": """
try_socket(FACTS["state"] + "/run/supervisor.sock")
""",
    "configuration": """
if any(is_key(line.partition(b"=")[2]) for line in try_file(FACTS["configuration"]).splitlines()): reached("key")
""",
}

WAYS_AROUND: Final = """
import subprocess
state = FACTS["state"]
if os.readlink("/proc/self/ns/pid") == FACTS["pid_ns"]:
    reached("process 1 of the machine")  # and is not to be killed
for command in (
    ["umount", state], ["umount", "-l", state], ["mount", "-o", "remount,rw", state],
    ["unshare", "-Urm", "umount", state], ["unshare", "-Urm", "umount", "-l", state],
    ["nsenter", "-t", "1", "-m", "true"],
):
    done = subprocess.run(command, capture_output=True, text=True)
    print(command, done.returncode, done.stderr.strip())
    if done.returncode == 0:
        reached(command)
for way in ("/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/proc/1/fd/3", f"/proc/{os.getppid()}/root"):
    for name in ("vault.json", "admin_token", "journal.sqlite3"):
        if try_file(way + state + "/" + name) or try_file(way + "/" + name):
            reached(way)
for name in os.listdir(state):
    if name != "tmp": reached(name)
if os.listdir(state + "/tmp") != [os.path.basename(os.path.dirname(os.getcwd()))]:
    reached("scripts of others")
try:
    open(state + "/new", "w")
except OSError as error:
    print("no", error)
else:
    reached("the folder can be written")
code = FACTS["code"]
if os.access(code, os.W_OK):
    reached("the agent's code can be written")
os.kill(1, 9)
os.kill(1, 15)
print("process 1 lives")
"""
"""What else one may think of inside the namespaces, tried together."""


def script(name: str, facts: Facts) -> str:
    """The probe's text."""
    return _with(_BODIES[name], facts)


def around(facts: Facts, code: str) -> str:
    """`WAYS_AROUND` for these facts; `code` is the folder of the agent's own code."""
    return _with(WAYS_AROUND, facts, code=code)


def _with(body: str, facts: Facts, **more: str) -> str:
    known = {
        "state": facts.state_dir,
        "configuration": facts.configuration,
        "key_digest": hashlib.sha256(facts.api_key.encode()).hexdigest(),
        "pids": list(facts.pids),
        "pid_ns": str(Path("/proc/self/ns/pid").readlink()),
        **more,
    }
    return _HEAD.replace("{facts}", json.dumps(known)) + body
