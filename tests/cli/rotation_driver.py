"""`python rotation_driver.py FOLDER`: one child per system call of a rekey, each killed at that call; prints their number.

FOLDER/home is a state directory with vault, key file and journal; the child of point N works on a copy, FOLDER/point-N.
Not a test: `test_rotation_cut_off.py` runs it.
"""

import functools
import shutil
import signal
import sys
from pathlib import Path

import vault.key
from easyalert import sealing
from easyalert.rotation import Rotation
from easyalert.settings import AgentSettings
from tests.support.cut_off import at_each_call
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


def prepared(folder: Path, point: int) -> Path:
    wreck = folder / f"point-{point}"
    shutil.copytree(folder / "home", wreck)
    return wreck


def rekey(wreck: Path) -> None:
    Rotation(settings_of(wreck, OLD), Vault(wreck / "vault.json", VaultKey(OLD))).rekey(NEW)


if __name__ == "__main__":
    signal.alarm(LIFETIME_S)
    cheap()
    at_each_call(functools.partial(prepared, Path(sys.argv[1])), rekey, lifetime_s=LIFETIME_S)
