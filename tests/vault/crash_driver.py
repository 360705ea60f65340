"""Writes to a vault until it is killed, in processes of its own. Not a test: `test_crash.py` runs it.

`python crash_driver.py points PATH OPERATION`: one child per system call of the operation, each killed at that call; prints
the number of points. `python crash_driver.py loop PATH NAME`: stores and rekeys for ever, one line per finished write.
`python crash_driver.py kills PATH ROUNDS:SEED`: two such loops at a time, killed after a moment; prints each one's last write.
`python crash_driver.py many PATH NAME`: stores fifty entries, NAME-0 to NAME-49, and ends.
"""

import functools
import itertools
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import vault.files
import vault.key
from tests.support.cut_off import at_each_call
from vault import Vault, VaultKey

KEYS = ("ea_agent_key_one", "ea_agent_key_two")
LIFETIME_S = 300


def operation(name: str, path: Path) -> None:
    store = Vault(path, VaultKey(KEYS[0]))
    if name == "put":
        store.put("b", {"v": 2})
    elif name == "delete":
        store.delete("gone")
    elif name == "rekey":
        store.rekey(KEYS[1])


def points(path: Path, name: str) -> None:
    original = path.with_name("original")
    shutil.copy(path, original)

    def prepared(point: int) -> Path:
        folder = path.parent / f"point-{point}"
        folder.mkdir()
        shutil.copy(original, folder / path.name)
        return folder / path.name

    at_each_call(prepared, functools.partial(operation, name), lifetime_s=LIFETIME_S)


def kills(path: Path, rounds: str) -> None:
    count, _, seed = rounds.partition(":")
    chance = random.Random(int(seed))
    for number in range(int(count)):
        writers = []
        for name in (f"left-{number}", f"right-{number}"):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                signal.alarm(LIFETIME_S)
                os.dup2(writing, 1)
                loop(path, name)
            os.close(writing)
            writers.append((name, child, reading))
        # Each has written at least once; what the next moment interrupts is chance.
        begun = [os.read(reading, 1) for _, _, reading in writers]
        time.sleep(chance.uniform(0, 0.03))
        for first, (name, child, reading) in zip(begun, writers, strict=True):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            with os.fdopen(reading) as acknowledged:
                last = (first.decode() + acknowledged.read()).split("\n")[-2]
            sys.stdout.write(f"{name} {last}\n")
            # Nothing unwritten may be inherited, and so repeated, by the next children.
            sys.stdout.flush()


def loop(path: Path, name: str) -> None:
    store = Vault(path, VaultKey(*KEYS))
    for number in itertools.count():
        store.put(name, {"number": number})
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % 5 == 4:
            # Back and forth, so that after any number of deaths the two keys open it between them.
            store.rekey(KEYS[number % 2])
            store = Vault(path, VaultKey(KEYS[number % 2], KEYS[1 - number % 2]))


def many(path: Path, name: str) -> None:
    store = Vault(path, VaultKey(KEYS[0]))
    for number in range(50):
        store.put(f"{name}-{number}", {"of": name, "number": number})


if __name__ == "__main__":
    # A test that is cut off ends nobody: whatever this is, it ends by itself.
    signal.alarm(LIFETIME_S)
    vault.key.ITERATIONS = 1
    # One of eight that want the lock all the time may wait longer for it than people would, on a busy machine.
    vault.files.exclusive.__wrapped__.__kwdefaults__["timeout_s"] = LIFETIME_S
    {"points": points, "loop": loop, "kills": kills, "many": many}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
