import errno
import logging
import os
import stat
import threading
from pathlib import Path

import pytest

from easyalert.errors import VaultUnavailable
from vault import files


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def name_of(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


def write(path, data, previous=None):
    with files.exclusive(path):
        files.replace(path, data, previous=previous)


def test_a_missing_file_is_none_also_in_a_missing_folder(path):
    assert files.stamp(path) is None
    assert files.read(path) is None
    assert not path.parent.exists()


def test_what_is_written_is_read_with_its_stamp(path):
    write(path, b"one")
    assert files.read(path) == (b"one", files.stamp(path))


def test_every_replacement_changes_the_stamp(path):
    write(path, b"one")
    before = files.stamp(path)
    write(path, b"two", previous=b"one")
    assert files.stamp(path) != before


def test_the_stamps_time_always_moves_on_even_when_the_clock_does_not(path):
    # Same inode, same size and same clock tick: without this a reader would keep the older content.
    write(path, b"000")
    ahead = path.stat().st_mtime_ns + 3600 * 10**9
    os.utime(path, ns=(ahead, ahead))
    times = [ahead]
    for number in range(20):
        write(path, b"%03d" % number, previous=b"000")
        times.append(files.stamp(path).mtime_ns)
    assert times == sorted(set(times))


def test_only_the_owner_may_read_whatever_the_umask_says(path):
    former = os.umask(0)
    try:
        write(path, b"one")
        write(path, b"two", previous=b"one")
    finally:
        os.umask(former)
    assert mode(path.parent) == 0o700
    for name in ("vault.json", "vault.json.bak", "vault.json.lock"):
        assert mode(path.with_name(name)) == 0o600
    assert files.backup_of(path).read_bytes() == b"one"


def test_the_mode_of_a_folder_that_exists_is_left_alone(path):
    path.parent.mkdir()
    path.parent.chmod(0o755)
    write(path, b"one")
    assert mode(path.parent) == 0o755


def test_a_mode_open_to_others_is_closed_with_a_warning(path, caplog):
    write(path, b"one")
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "vault"):
        files.read(path)
    assert mode(path) == 0o600
    assert "0644" in caplog.text


def test_a_mere_look_changes_no_mode(path):
    write(path, b"one")
    path.chmod(0o640)
    files.read(path, tighten=False)
    assert mode(path) == 0o640


def test_a_symbolic_link_is_refused_in_every_way(path, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"{}")
    path.parent.mkdir()
    path.symlink_to(target)
    for attempt in (files.stamp, files.read):
        with pytest.raises(VaultUnavailable, match="symbolic link"):
            attempt(path)
    assert target.read_bytes() == b"{}"


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_regular_file_is_refused_and_hangs_nobody(path, kind):
    path.parent.mkdir()
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    for attempt in (files.stamp, files.read):
        with pytest.raises(VaultUnavailable, match="regular file"):
            attempt(path)


def test_links_laid_over_our_own_names_are_not_followed(path, tmp_path):
    target = tmp_path / "victim"
    target.write_bytes(b"precious")
    path.parent.mkdir()
    path.with_name("vault.json.new").symlink_to(target)
    path.with_name("vault.json.bak").symlink_to(target)
    write(path, b"two", previous=b"one")
    assert target.read_bytes() == b"precious"
    assert path.read_bytes() == b"two"
    assert files.backup_of(path).read_bytes() == b"one"

    path.with_name("vault.json.lock").unlink()
    path.with_name("vault.json.lock").symlink_to(target)
    with pytest.raises(VaultUnavailable, match="symbolic link"):
        write(path, b"three")


def test_a_leftover_of_a_dead_writer_is_no_obstacle(path):
    path.parent.mkdir()
    path.with_name("vault.json.new").write_bytes(b"half a fi")
    write(path, b"one")
    assert sorted(p.name for p in path.parent.iterdir()) == ["vault.json", "vault.json.lock"]


def test_the_second_writer_waits_and_then_says_so(path):
    held, done = threading.Event(), threading.Event()

    def hold():
        with files.exclusive(path):
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with pytest.raises(VaultUnavailable, match=r"lock.*fuser"), files.exclusive(path, timeout_s=0.03):
        pass
    done.set()
    with files.exclusive(path, timeout_s=5):
        pass
    holder.join()


def test_every_byte_is_synchronised_before_the_rename_and_the_folder_after(path, monkeypatch):
    write(path, b"one")
    events = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        events.append(("fsync", name_of(descriptor)))
        real_fsync(descriptor)

    def replace(source, target, **kwargs):
        events.append(("rename", Path(target).name))
        real_replace(source, target, **kwargs)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write(path, b"two", previous=b"one")
    assert events == [
        ("fsync", "vault.json.bak.new"), ("rename", "vault.json.bak"),
        ("fsync", "vault.json.new"), ("rename", "vault.json"),
        ("fsync", "state"),
    ]  # fmt: skip


@pytest.mark.parametrize("failing", ["fsync", "replace", "fchmod"])
def test_a_failed_write_leaves_the_file_and_no_litter(path, monkeypatch, failing):
    write(path, b"one")

    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(VaultUnavailable, match="No space left"):
        write(path, b"two", previous=b"one")
    monkeypatch.undo()
    assert path.read_bytes() == b"one"
    assert not path.with_name("vault.json.new").exists()


def test_a_folder_that_cannot_be_synchronised_is_a_warning_since_the_file_is_there(path, monkeypatch, caplog):
    write(path, b"one")

    def fail(_folder):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "_sync_folder", fail)
    write(path, b"two", previous=b"one")
    assert path.read_bytes() == b"two"
    assert "Input/output error" in caplog.text


def test_root_writing_for_the_service_account_does_not_lock_it_out(path, monkeypatch):
    given = []
    path.parent.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        os,
        "fchown",
        lambda fd, uid, gid: given.append((name_of(fd), uid, gid)),
    )
    owner = path.parent.stat()
    write(path, b"one")
    write(path, b"two", previous=b"one")
    assert {name for name, *_ in given} == {"vault.json.lock", "vault.json.new", "vault.json.bak.new"}
    assert {(uid, gid) for _, uid, gid in given} == {(owner.st_uid, owner.st_gid)}


def test_anybody_else_gives_nothing_away(path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fchown", lambda *_: pytest.fail("only root may"))
    write(path, b"one")


def test_no_permission_is_a_sentence(path, monkeypatch):
    write(path, b"one")

    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    for attempt in (files.read, lambda p: write(p, b"two")):
        with pytest.raises(VaultUnavailable, match="Permission denied"):
            attempt(path)


def test_a_folder_that_is_a_file_is_a_sentence(path):
    path.parent.write_bytes(b"")
    for attempt in (files.stamp, files.read, lambda p: write(p, b"x")):
        with pytest.raises(VaultUnavailable, match=str(path)):
            attempt(path)


def test_a_lock_that_is_another_file_too_is_refused(path):
    """Root gives the lock to the vault's owner, who must not get anything else by that: the owner can make links."""
    write(path, b"one")
    other = path.with_name("other")
    other.write_text("root's own")
    lock = files.beside(path, ".lock")
    lock.unlink()
    os.link(other, lock)
    with pytest.raises(VaultUnavailable, match=r"lock.*another name"):
        write(path, b"two")
    assert path.read_bytes() == b"one"
