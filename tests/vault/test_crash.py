"""A writer may die at any point: the vault is then the old one or the new one, and the next writer works."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import vault.key
from tests.vault.crash_driver import KEYS
from vault import Vault, VaultKey

DRIVER = Path(__file__).with_name("crash_driver.py")
ROOT = DRIVER.parents[2]

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    # As in the driver.
    monkeypatch.setattr(vault.key, "ITERATIONS", 1)


def driver(*args):
    return subprocess.Popen(
        [sys.executable, str(DRIVER), *map(str, args)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("operation", "before", "after"),
    [
        ("put", {"a": {"v": 1}, "gone": {}}, {"a": {"v": 1}, "b": {"v": 2}, "gone": {}}),
        ("delete", {"a": {"v": 1}, "gone": {}}, {"a": {"v": 1}}),
        ("rekey", {"a": {"v": 1}, "gone": {}}, {"a": {"v": 1}, "gone": {}}),
    ],
)
def test_killed_at_every_system_call_of_a_write(tmp_path, operation, before, after):
    path = tmp_path / "vault.json"
    store = Vault(path, VaultKey(KEYS[0]))
    for name, credentials in before.items():
        store.put(name, credentials)

    with driver("points", path, operation) as running:
        output = running.communicate(timeout=60)[0]
    assert running.returncode == 0
    points = int(output)
    assert points >= 10

    outcomes = set()
    for point in range(points):
        wreck = tmp_path / f"point-{point}" / "vault.json"
        opened = [Vault(wreck, VaultKey(key)) for key in KEYS]
        states = [one.check().state for one in opened]
        assert sorted(states) == ["locked", "ok"], f"point {point}"
        whole = opened[states.index("ok")]
        content = {name: whole.get(name) for name in whole.names()}
        assert content in (before, after), f"point {point}"
        outcomes.add((content == after, states.index("ok")))
        whole.put("next", {"works": True})
        assert {p.name for p in wreck.parent.iterdir()} <= {"vault.json", "vault.json.bak", "vault.json.lock"}
    assert len(outcomes) == 2, "some deaths must fall before the replacement and some after it"


@pytest.fixture
def quick_path():
    """Not on a disk: a SIGKILL takes no page cache along, and waiting for fsync would only make chances rarer."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as folder:
        yield Path(folder) / "vault.json"


@pytest.mark.parametrize("part", range(5))
def test_five_hundred_kills_during_writes_and_rekeys_lose_no_acknowledged_credential(quick_path, part):
    path = quick_path
    reader = Vault(path, VaultKey(*KEYS))
    reader.put("witness", {"kept": True})
    with driver("kills", path, f"50:{part}") as running:
        lines = running.communicate(timeout=100)[0].split("\n")[:-1]
    assert running.returncode == 0
    acknowledged = {name: int(last) for name, last in map(str.split, lines)}
    assert len(acknowledged) == 100
    assert reader.check().state == "ok"
    assert reader.get("witness") == {"kept": True}
    for name, last in acknowledged.items():
        assert reader.get(name)["number"] >= last


def test_eight_processes_store_fifty_entries_each_and_none_is_lost(quick_path):
    path = quick_path
    writers = [driver("many", path, f"writer-{number}") for number in range(8)]
    for writer in writers:
        writer.communicate(timeout=100)
        assert writer.returncode == 0
    reader = Vault(path, VaultKey(KEYS[0]))
    assert reader.names() == sorted(f"writer-{writer}-{number}" for writer in range(8) for number in range(50))
    assert all(reader.get(name) == {"of": name[:8], "number": int(name[9:])} for name in reader.names())
    assert reader.check().state == "ok"


def test_eight_processes_lose_no_write_of_one_another(tmp_path):
    path = tmp_path / "vault.json"
    writers = [driver("loop", path, f"conn-{number}") for number in range(8)]
    try:
        deadline = time.monotonic() + 120
        reader = Vault(path, VaultKey(*KEYS))
        while time.monotonic() < deadline:
            names = reader.names()
            if len(names) == 8 and all(reader.get(name)["number"] >= 6 for name in names):
                break
            assert reader.check().state in {"ok", "empty"}
            time.sleep(0.05)
        else:
            pytest.fail("eight writers did not get through")
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
