import os
import re
import shutil
import stat

import pytest

from easyalert import instance as module
from easyalert.errors import ConfigurationError
from easyalert.instance import instance_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "instance_id"


def test_the_same_state_directory_has_the_same_name_start_after_start(path):
    name = instance_of(path)
    assert re.fullmatch(r"[0-9a-f]{32}\.[0-9a-f]{16}", name)
    assert {instance_of(path) for _ in range(3)} == {name}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_state_directories_have_two(tmp_path):
    assert instance_of(tmp_path / "one") != instance_of(tmp_path / "two")


def test_a_copied_folder_has_the_id_and_another_mark(path, tmp_path):
    name = instance_of(path)
    copy = tmp_path / "copy"
    shutil.copy2(path, copy)
    assert instance_of(copy).split(".")[0] == name.split(".")[0]
    assert instance_of(copy) != name


def test_a_cloned_machine_has_the_id_and_another_mark(path, monkeypatch):
    """It has the same inode, too, and boots by itself."""
    name = instance_of(path)
    monkeypatch.setattr(module, "boot_id", lambda: "another boot")
    assert instance_of(path).split(".")[0] == name.split(".")[0]
    assert instance_of(path) != name


def test_moving_the_folder_within_its_disk_changes_nothing(path, tmp_path):
    name = instance_of(path)
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "instance_id")
    assert instance_of(moved) == name


@pytest.mark.parametrize("content", [b"", b"\x00" * 32, b"not an id", b"A" * 32])
def test_a_file_that_is_no_good_is_made_anew(path, content):
    path.write_bytes(content)
    name = instance_of(path)
    assert instance_of(path) == name


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="instance_id cannot be used"):
        instance_of(tmp_path / "missing" / "instance_id")
    (tmp_path / "instance_id").mkdir()
    with pytest.raises(ConfigurationError, match=re.escape(os.strerror(21))):
        instance_of(tmp_path / "instance_id")
