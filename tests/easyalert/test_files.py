import os
import signal
import stat
import subprocess
import sys

import pytest

from easyalert.files import private_folder, sync_folder, write_atomically


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_mode_is_the_one_asked_for(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"open to all")
    path.chmod(0o666)
    before = os.umask(0)
    try:
        write_atomically(path, b"x", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_symlink_is_replaced_not_followed(tmp_path):
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_bytes(b"untouched")
    path.symlink_to(target)
    write_atomically(path, b"x")
    assert (target.read_bytes(), path.is_symlink(), path.read_bytes()) == (b"untouched", False, b"x")


def test_a_failure_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_name_are_synced_in_this_order(tmp_path, monkeypatch):
    path, order = tmp_path / "file", []
    synced = os.fsync

    def note(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        order.append((kind, path.exists()))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(path, b"x")
    assert order == [("file", False), ("folder", True)]


def test_syncing_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")


WRITER = """
import sys; from pathlib import Path
from easyalert.files import write_atomically
path, number = Path(sys.argv[1]), int(sys.argv[2])
while True:
    write_atomically(path, str(number).encode() * 5000); print(number, flush=True); number += 1
"""


@pytest.mark.system
def test_a_killed_writer_leaves_a_whole_file_not_older_than_it_said(tmp_path):
    path, number = tmp_path / "file", 1000
    for turn in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3 + 7 * turn):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0]
        del rest
        content = path.read_bytes()
        assert len(content) == 20_000, "torn"
        found = int(content[:4])
        assert content == str(found).encode() * 5000
        assert found >= number + 3 + 7 * turn - 1
        number = found + 1


# ---- folders --------------------------------------------------------------------------------------------------------


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_folder_and_its_missing_parents_are_private(tmp_path):
    tmp_path.chmod(0o755)
    assert private_folder(tmp_path / "a/b/c") == tmp_path / "a/b/c"
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3
    assert mode(tmp_path) == 0o755


def test_an_existing_folder_is_left_as_it_is(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o750)
    folder.chmod(0o750)
    private_folder(folder)
    assert mode(folder) == 0o750


def test_a_file_in_the_way_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(NotADirectoryError):
            private_folder(path)


def test_a_folder_somebody_else_made_where_anybody_may_is_refused(tmp_path, monkeypatch):
    """The run folder may lie in /tmp: who makes it first would own our sockets."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    (shared / "run").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    private_folder(shared / "run")  # not a place where anybody may create folders
    shared.chmod(0o1777)
    with pytest.raises(PermissionError, match="belongs to another user"):
        private_folder(shared / "run")


def test_a_link_somebody_else_made_where_anybody_may_is_refused(tmp_path, monkeypatch):
    shared, ours = tmp_path / "tmp", tmp_path / "ours"
    shared.mkdir()
    shared.chmod(0o1777)
    ours.mkdir()
    (shared / "run").symlink_to(ours)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError):
        private_folder(shared / "run")
