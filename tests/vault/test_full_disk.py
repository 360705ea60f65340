"""No room for a write, at every size at which it can run out: the file is as it was, and works again when there is."""

import os
import resource
import signal

import pytest

from easyalert.errors import VaultUnavailable
from tests.vault.conftest import KEY, OTHER
from vault import Vault, VaultKey, files

BIG = {"v": "x" * 200}


def at_most(size, work):
    """Do `work` in a process that may write files of `size` bytes at most; its exit code."""
    child = os.fork()
    if child == 0:
        code = 9
        try:
            signal.alarm(60)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            work()
            code = 0
        except VaultUnavailable as error:
            code = 1 if "File too large" in str(error) else 8
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("operation", ["put", "delete", "rekey"])
def test_a_disk_that_is_full_at_any_byte_of_a_write(path, operation):
    store = Vault(path, VaultKey(KEY))
    store.put("a", BIG)
    store.put("b", BIG)
    before = path.read_bytes()
    work = {"put": lambda: store.put("c", {}), "delete": lambda: store.delete("b"), "rekey": lambda: store.rekey(OTHER)}

    failed = 0
    for size in range(0, len(before), 16):
        code = at_most(size, work[operation])
        assert code in {0, 1}, size
        if code == 0:
            break
        failed += 1
        assert path.read_bytes() == before
        assert {p.name for p in path.parent.iterdir()} <= {"vault.json", "vault.json.lock", "vault.json.bak"}
    assert failed * 16 > len(before) // 2
    if path.read_bytes() == before:
        work[operation]()
    key = OTHER if operation == "rekey" else KEY
    assert Vault(path, VaultKey(key)).check().state == "ok"
    assert Vault(path, VaultKey(key)).get("a") == BIG


def test_a_rekey_whose_backup_finds_no_room_is_done_and_says_so(store, path, monkeypatch, caplog):
    store.put("a", BIG)
    real = files._put_in_place
    puts = []

    def full_at_the_third(where, data, *, successor_of):
        puts.append(where)
        if len(puts) == 3:  # backup of the old file, the new file, backup of the new one
            raise OSError(28, "No space left on device")
        return real(where, data, successor_of=successor_of)

    monkeypatch.setattr(files, "_put_in_place", full_at_the_third)
    assert store.rekey(OTHER) == 1
    assert "still encrypted under the former key" in caplog.text
    monkeypatch.setattr(files, "_put_in_place", real)
    backup = files.backup_of(path)
    assert Vault(backup, VaultKey(KEY)).check().state == "ok"

    after = Vault(path, VaultKey(OTHER))
    written = path.read_bytes()
    assert after.settle_backup() is True
    assert Vault(backup, VaultKey(KEY)).check().state == "locked"
    assert Vault(backup, VaultKey(OTHER)).get("a") == BIG
    assert after.settle_backup() is False
    assert path.read_bytes() == written
