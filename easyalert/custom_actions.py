"""Actions that the agent's owner has added: executables in `CUSTOM_ACTIONS_DIR`, some with a manifest beside them.

`purge-cache` is the action `custom.purge-cache`; `purge-cache.toml` describes it. Whoever can write there decides what
the agent runs, so folder, files and the way to them have to belong to root or the agent's account, and nobody else may
write. They are read anew for each job.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from easyalert.errors import AgentFault, PolicyUnusable, UnknownAction
from easyalert.policy.owned import Owned, check_way, only_the_owners

KIND: Final = "custom"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_SUFFIX: Final = ".toml"

ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]


class Declared(BaseModel):
    """One parameter, as a manifest has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["string", "integer", "number", "boolean", "list", "object"] = "string"
    required: bool = False
    description: str = ""


class Manifest(BaseModel):
    """`NAME.toml`. Without one: nothing is known of the action, and it gets what the job has, but no credential."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    idempotent: bool = False
    """It may run twice without harm."""
    needs_credential: bool = Field(default=False, alias="needsCredential")
    """It gets the vault's entry of the job's connection, and is not run without one."""
    timeout: int | None = Field(default=None, ge=1, le=3600)
    """Seconds; the job's own limit ends it too."""
    isolated: bool = True
    """It runs as scripts do (SCRIPT_ISOLATION, SCRIPT_MAX_…); False: as the agent's account, with all that may do."""
    parameters: dict[ParameterName, Declared] | None = None
    """Only these are handed over, checked; None: whatever the job has."""


@dataclass(frozen=True)
class CustomAction:
    """One that can be run."""

    name: str
    program: Path
    manifest: Manifest

    def as_json(self) -> dict[str, Any]:
        """For `easyalert-agent actions --json`."""
        said = self.manifest.model_dump(mode="json", by_alias=True)
        return {"action": f"{KIND}.{self.name}", "program": str(self.program), **said}


def custom_action(folder: Path | None, name: str) -> CustomAction:
    """Raises UnknownAction naming those there are, AgentFault when its files are not to be relied on."""
    if folder is None:
        raise UnknownAction("this agent has no actions of its owner's: CUSTOM_ACTIONS_DIR is not set")
    if not _NAME.fullmatch(name) or name not in _names(folder):
        known = ", ".join(_names(folder)) or "none"
        raise UnknownAction(f"'{KIND}' has no such action on this agent; it has: {known}")
    try:
        return CustomAction(name, _program(folder, name), _manifest(folder / f"{name}{_SUFFIX}"))
    except PolicyUnusable as error:
        raise AgentFault(f"{KIND}.{name} was not run: {error}") from None


def custom_actions(folder: Path | None) -> tuple[list[CustomAction], dict[str, str]]:
    """Those that can be run, and for each other one why not. Raises AgentFault when the folder cannot be read."""
    usable, problems = [], {}
    for name in [] if folder is None else _names(folder):
        try:
            usable.append(custom_action(folder, name))
        except (AgentFault, UnknownAction) as error:
            problems[name] = str(error)
    return usable, problems


def _names(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir() if _NAME.fullmatch(file.name) and not file.is_dir())
    except OSError as error:
        raise AgentFault(f"CUSTOM_ACTIONS_DIR: {folder} cannot be read ({error.strerror})") from None


def _program(folder: Path, name: str) -> Path:
    """Raises PolicyUnusable."""
    file = folder / name
    try:
        if file.resolve().parent != folder.resolve():
            raise PolicyUnusable(f"{file} is a link that leads out of its folder: put the program itself there")
        check_way(file, os.geteuid())
        found = file.stat()
        only_the_owners(found, file, os.geteuid())
    except OSError as error:
        raise PolicyUnusable(f"{file} cannot be looked at ({error.strerror})") from None
    except RuntimeError:  # a link that leads to itself
        raise PolicyUnusable(f"{file} is a link that leads nowhere") from None
    if not stat.S_ISREG(found.st_mode):
        raise PolicyUnusable(f"{file} is no regular file")
    if not os.access(file, os.X_OK):
        raise PolicyUnusable(f"{file} cannot be executed: chmod 755 {file}")
    return file


def _manifest(file: Path) -> Manifest:
    """Raises PolicyUnusable."""
    return Owned(file, _read, required=False).current() or Manifest()


def _read(content: bytes, file: Path) -> Manifest:
    try:
        return Manifest.model_validate(tomllib.loads(content.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyUnusable(f"{file} is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PolicyUnusable(f"{file}: '{where}' {first['msg'][:1].lower()}{first['msg'][1:]}") from None
