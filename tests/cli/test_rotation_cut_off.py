"""A rotation of the API key that dies at any point: the next start, with whatever key it gets, loses nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vault.key
from cli import preflight
from easyalert import sealing
from easyalert.journal import Journal, NewJob
from easyalert.journal.pause import REKEYED_NOTE, local_pause
from easyalert.rotation import Rotation
from easyalert.sealing import ensure_key_pair, load_private_key, load_public_key, seal_info
from tests.cli.rotation_driver import NEW, OLD, settings_of
from vault import Vault, VaultKey
from vault.files import backup_of

DRIVER = Path(__file__).with_name("rotation_driver.py")
ROOT = DRIVER.parents[2]
ENTRIES = {"a": {"v": 1}, "b": {"v": 2}}


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    # As in the driver.
    monkeypatch.setattr(vault.key, "ITERATIONS", 1)
    monkeypatch.setattr(sealing, "_ITERATIONS", 1)


@pytest.fixture
def home(tmp_path):
    """An agent's files, with a job that waits: its parameters are sealed to the key pair there is now."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    settings = settings_of(folder, OLD)
    store = Vault(settings.vault_path, VaultKey(OLD))
    for name, credentials in ENTRIES.items():
        store.put(name, credentials)
    ensure_key_pair(settings.agent_key_path, OLD)
    sealed = load_public_key(settings.agent_key_path).seal(b'{"script": "true"}', seal_info("job_1"))
    with Journal(settings.journal_path) as journal:
        journal.take([NewJob("job_1", None, "script.bash", None, sealed, 60, None, False, None, 900)])
    return folder


def start(folder, key, previous=None):
    """What a start of the agent does to its keys: the preflight, then the admin process."""
    settings = settings_of(folder, key, previous)
    preflight._prepare_keys(settings)
    store = Vault(settings.vault_path, VaultKey(key, previous))
    Rotation(settings, store).finish()
    return settings


def assert_nothing_is_lost(settings):
    key = settings.agent_api_key.get_secret_value()
    other = NEW if key == OLD else OLD
    store = Vault(settings.vault_path, VaultKey(key))
    assert store.check().state == "ok"
    assert {name: store.get(name) for name in store.names()} == ENTRIES
    private = load_private_key(settings.agent_key_path, [key])
    assert load_private_key(settings.agent_key_path, [other]) is None
    with Journal(settings.journal_path) as journal:
        row = journal.get("job_1")
    assert private.open(row.sealed, seal_info("job_1")) == b'{"script": "true"}'
    assert not list(settings.state_dir.glob("agent_key.json.unopened*"))
    # nothing that the other key opens is left, whichever of the two was given up
    for path in (settings.vault_path, backup_of(settings.vault_path)):
        if path.exists():
            assert Vault(path, VaultKey(other)).check().state == "locked", path.name


@pytest.mark.system
def test_a_rekey_killed_at_any_system_call_is_finished_by_the_next_start(home, tmp_path):
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    points = int(done.stdout)
    assert points >= 30
    moved = set()
    for point in range(points):
        wreck = tmp_path / f"point-{point}"
        new = Vault(wreck / "vault.json", VaultKey(NEW)).check().state == "ok"
        moved.add(new)
        with Journal(wreck / "journal.sqlite3") as journal:
            held = journal.note(REKEYED_NOTE) is not None
        assert held or not new, f"point {point}: the vault has the new key and workers may start jobs"
        alone = (NEW,) if new else (OLD,)
        for number, keys in enumerate([alone, (NEW, OLD), (OLD, NEW)]):
            again = tmp_path / f"point-{point}-{number}"
            shutil.copytree(wreck, again)
            assert_nothing_is_lost(start(again, *keys))
    assert moved == {True, False}


def test_with_the_new_key_alone_before_the_vault_has_it_nothing_is_written_over(home):
    before = (home / "vault.json").read_bytes()
    start(home, NEW)
    assert (home / "vault.json").read_bytes() == before
    assert Vault(home / "vault.json", VaultKey(NEW)).check().state == "locked"
    # the key file is set aside by that start; the vault is there for the right one
    assert Vault(home / "vault.json", VaultKey(OLD)).get("a") == {"v": 1}


@pytest.mark.parametrize("rekeyed_first", [True, False])
def test_a_rotation_with_and_without_rekey_first(home, rekeyed_first):
    if rekeyed_first:
        Rotation(settings_of(home, OLD), Vault(home / "vault.json", VaultKey(OLD))).rekey(NEW)
        assert_nothing_is_lost(start(home, NEW))
    else:
        assert_nothing_is_lost(start(home, NEW, OLD))
        assert_nothing_is_lost(start(home, NEW))


def test_a_start_that_finishes_a_rotation_may_be_killed_and_started_again(home, monkeypatch):
    """Between the key file and the vault."""
    ensure_key_pair(home / "agent_key.json", NEW, OLD)
    assert_nothing_is_lost(start(home, NEW, OLD))


def test_a_refused_rekey_leaves_files_and_jobs_as_they_were(home):
    settings = settings_of(home, "ea_agent_wrong")
    before = {path.name: path.read_bytes() for path in home.glob("*.json*")}
    with pytest.raises(Exception, match="does not open"):
        Rotation(settings, Vault(home / "vault.json", VaultKey("ea_agent_wrong"))).rekey(NEW)
    assert {path.name: path.read_bytes() for path in home.glob("*.json*")} | {"vault.json.lock": b""} == before | {
        "vault.json.lock": b""
    }
    with Journal(home / "journal.sqlite3") as journal:
        assert local_pause(journal, 0) is None
