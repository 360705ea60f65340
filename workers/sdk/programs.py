"""Programs of this machine that actions start: where they are looked for, and what they find in their environment."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from pathlib import Path
from typing import Final

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def search_path() -> str:
    """The agent's PATH without its virtual environment, whose python holds the agent's own modules."""
    folders = (os.environ.get("PATH") or DEFAULT_PATH).split(os.pathsep)
    own = Path(sys.prefix, "bin")
    kept = [folder for folder in folders if folder and (sys.prefix == sys.base_prefix or Path(folder) != own)]
    return os.pathsep.join(kept) or DEFAULT_PATH


def system_program(name: str, path: str | None = None) -> str | None:
    """Where an administrator's program is: on the agent's PATH, or in the folders of those; None: nowhere."""
    return shutil.which(name, path=path or os.pathsep.join([search_path(), DEFAULT_PATH]))


def account_name() -> str:
    """Of the account that this process runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's numeric user
        return str(os.getuid())


def environment_for(home: Path, path: str, account: str) -> dict[str, str]:
    """What every program of a job finds: nothing of the agent's own environment but language and time zone."""
    environment = {
        "PATH": path,
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(home),
        "USER": account,
        "LOGNAME": account,
        "SHELL": "/bin/sh",
    }
    return environment | {name: value for name, value in os.environ.items() if name == "TZ" or name.startswith("LC_")}
