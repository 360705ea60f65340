"""The agent's folders: made when missing, refused when anybody else could reach into them."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from pathlib import Path
from typing import Final

from easyalert.errors import ConfigurationError
from easyalert.files import private_folder
from easyalert.journal import Reserve
from easyalert.settings import AgentSettings

START_NEEDS_MB: Final = 1
"""Below this, with what the reserve gives back, not even the journal and Redis can start; above it the agent runs,
delivers the results it has, and reports a full disk itself."""


def prepare_folders(settings: AgentSettings) -> None:
    """Make `state_dir`, `run_dir`, `tmp_dir` and `redis_dir`. Raises ConfigurationError with the command that helps."""
    # the operator may have put the state directory behind a link; inside it, and in /tmp, a link is somebody's trick
    _prepare(settings.state_dir, links_allowed=True)
    for folder in (settings.run_dir, settings.tmp_dir, settings.redis_dir):
        _prepare(folder, links_allowed=False)


def _prepare(folder: Path, *, links_allowed: bool) -> None:
    try:
        private_folder(folder)
        found = folder.stat() if links_allowed else folder.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be made: {error.strerror}; make it for this account:"
            f" sudo install -d -m 700 -o {_account()} {shlex.quote(str(folder))}"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"{folder} is not a folder; move it away")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the folder {folder} belongs to user id {found.st_uid}, the agent runs as {os.geteuid()}:"
            f" sudo chown -R {_account()} {shlex.quote(str(folder))}"
        )
    if found.st_mode & 0o077:
        raise ConfigurationError(
            f"the folder {folder} is open to other accounts (mode {found.st_mode & 0o7777:o}), and it holds secrets:"
            f" chmod 700 {shlex.quote(str(folder))}"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"the folder {folder} cannot be written: chmod 700 {shlex.quote(str(folder))}")


def _account() -> str:
    return f"{os.geteuid()}:{os.getegid()}"


def check_disk(settings: AgentSettings) -> str | None:
    """A warning when the agent will take no jobs for want of disk. Raises ConfigurationError when it cannot start."""
    reserve = Reserve(settings.journal_path)
    usage = shutil.disk_usage(settings.state_dir)
    while usage.free < START_NEEDS_MB * 2**20 and reserve.give_back():
        usage = shutil.disk_usage(settings.state_dir)
    reserve.keep()
    free_mb = usage.free // 2**20
    if free_mb < START_NEEDS_MB:
        raise ConfigurationError(
            f"the disk of {settings.state_dir} is full ({free_mb} MB free); the agent needs {START_NEEDS_MB} MB"
            f" to start. See what fills it: du -xh --max-depth=2 {shlex.quote(str(settings.state_dir))}"
        )
    if free_mb < settings.min_free_disk_mb or usage.free < usage.total * 0.05:
        return (
            f"the disk of {settings.state_dir} has {free_mb} MB free: the agent takes no jobs below"
            f" {settings.min_free_disk_mb} MB (MIN_FREE_DISK_MB) or 5 %"
        )
    return None
