from __future__ import annotations

import os
import shutil
from typing import NamedTuple

import pytest

from cli.folders import check_disk, prepare_folders
from easyalert.errors import ConfigurationError


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_all_are_made_private(tmp_path, settings_of):
    settings = settings_of(tmp_path / "deep" / "state")
    prepare_folders(settings)
    for folder in (settings.state_dir, settings.run_dir, settings.tmp_dir, settings.redis_dir):
        assert folder.stat().st_mode & 0o777 == 0o700
    prepare_folders(settings)


@pytest.mark.parametrize("which", ["state_dir", "run_dir", "tmp_dir", "redis_dir"])
def test_a_folder_others_can_enter_is_refused_with_the_command(tmp_path, settings_of, which):
    settings = settings_of(tmp_path / "state")
    prepare_folders(settings)
    folder = getattr(settings, which)
    folder.chmod(0o750)
    with pytest.raises(ConfigurationError, match=f"mode 750.*chmod 700 {folder}"):
        prepare_folders(settings)


def test_somebody_elses_folder_is_refused_with_the_command(tmp_path, settings_of, monkeypatch):
    settings = settings_of(tmp_path / "state")
    prepare_folders(settings)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(
        ConfigurationError, match=r"belongs to user id \d+, the agent runs as 12345: sudo chown -R 12345"
    ):
        prepare_folders(settings)


def test_a_file_or_a_link_in_the_way(tmp_path, settings_of):
    settings = settings_of(tmp_path / "state")
    settings.state_dir.mkdir(0o700)
    (tmp_path / "elsewhere").mkdir(0o700)
    settings.run_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="not a folder"):
        prepare_folders(settings)
    settings.run_dir.unlink()
    settings.run_dir.write_text("")
    with pytest.raises(ConfigurationError, match="install -d -m 700"):
        prepare_folders(settings)


def test_the_state_directory_itself_may_be_a_link(tmp_path, settings_of):
    (tmp_path / "disk").mkdir(0o700)
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    prepare_folders(settings_of(tmp_path / "state"))
    assert (tmp_path / "disk" / "run").is_dir()


@pytest.mark.parametrize(("free_mb", "answer"), [(0, "refused"), (2, "warning"), (255, "warning"), (300, None)])
def test_disk(tmp_path, settings_of, monkeypatch, free_mb, answer):
    settings = settings_of(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**30, 0, free_mb * 2**20))
    if answer == "refused":
        with pytest.raises(ConfigurationError, match=f"full .{free_mb} MB free"):
            check_disk(settings)
    else:
        assert bool(check_disk(settings)) is (answer == "warning")


def test_five_percent_counts_too(tmp_path, settings_of, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 2**34))
    assert "5 %" in check_disk(settings_of(tmp_path))
