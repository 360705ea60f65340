"""`python rotation_driver.py FOLDER`: one child per system call of a rekey, each killed at that call; prints their number.

FOLDER/home is a state directory with vault, key file and journal; the child of point N works on a copy, FOLDER/point-N.
Not a test: `test_rotation_cut_off.py` runs it.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

import vault.key
from easyalert import sealing
from easyalert.rotation import Rotation
from easyalert.settings import AgentSettings
from tests.vault.crash_driver import die_at
from vault import Vault, VaultKey

OLD, NEW = "ea_agent_before", "ea_agent_after"
LIFETIME_S = 100


def settings_of(folder: Path, key: str, previous: str | None = None) -> AgentSettings:
    return AgentSettings(
        _env_file=None,
        agent_api_url="https://plane.invalid",
        agent_api_key=key,
        agent_api_key_previous=previous,
        state_dir=folder,
    )


def cheap() -> None:
    vault.key.ITERATIONS = 1
    sealing._ITERATIONS = 1


def main(folder: Path) -> None:
    for point in itertools.count():
        wreck = folder / f"point-{point}"
        shutil.copytree(folder / "home", wreck)
        child = os.fork()
        if child == 0:
            signal.alarm(LIFETIME_S)
            die_at(point)
            Rotation(settings_of(wreck, OLD), Vault(wreck / "vault.json", VaultKey(OLD))).rekey(NEW)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status) != 0:
                sys.exit(f"point {point}: exit {os.WEXITSTATUS(status)}")
            sys.stdout.write(f"{point}\n")
            return


if __name__ == "__main__":
    signal.alarm(LIFETIME_S)
    cheap()
    main(Path(sys.argv[1]))
