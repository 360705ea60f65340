"""Which way of keeping scripts apart works on this machine: decided once, by trying, at the pool's start.

`auto`: userns where it works, else none; `auto:NAME`: userns, else user:NAME, else none. A way that was asked for by
name is never replaced by another: where it does not work, scripts are refused.
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from easyalert.hardening import become_subreaper, give_up_ambient_rights, rights
from easyalert.settings import AgentSettings
from workers import namespaces
from workers.isolation import HOW, OF_ACCOUNT, OF_ROOT, Account, Isolation, Plain, scripts_dir
from workers.namespace_keeper import Sandbox
from workers.namespaces import NamespacesError

log = logging.getLogger(__name__)

_RIGHTS: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_PTRACE": 19}
"""What `user:NAME` takes: to give a folder away and remove it, to become the account, to find and end its processes."""
_TRIED_WITHIN_S: Final = 30


def find_isolation(settings: AgentSettings, agent: str) -> Isolation:
    """What SCRIPT_ISOLATION asks for, as far as it works here; logged. Never raises."""
    asked = settings.script_isolation
    way, _, name = asked.partition(":")
    tries: list[Callable[[], Isolation]] = []
    if way in {"auto", "userns"}:
        tries.append(lambda: _userns(settings))
    if name:
        tries.append(lambda: _user(settings, name, agent))
    reasons: list[str] = []
    for attempt in tries:
        found = attempt()
        if found.mode != "refused":
            return _logged(replace(found, asked=asked, why="; ".join(reasons)))
        reasons.append(found.why)
    why = "; ".join(reasons)
    if way in {"auto", "none"}:
        exposed = (*OF_ACCOUNT, *(OF_ROOT if rights() & 1 << _RIGHTS["SYS_PTRACE"] else ()))
        return _logged(Isolation(asked, "none", why, exposed=exposed))
    return _logged(Isolation(asked, "refused", why))


def _logged(found: Isolation) -> Isolation:
    match found.mode:
        case "refused":
            log.error("%s; %s", found.sentence, HOW)
        case "none" if found.asked != "none":
            log.warning("scripts are not isolated: %s; %s", found.sentence, HOW)
        case _:
            log.info("scripts: %s", found.sentence)
            if found.exposed:
                log.warning(
                    "open to scripts all the same: %s; chmod 600 the files, see %s", ", ".join(found.exposed), HOW
                )
    return found


def _userns(settings: AgentSettings) -> Isolation:
    if not _private(folder := settings.vault_path.parent):
        # its files are replaced, and backups appear beside it: what is laid over one of them does not hold
        why = f"the vault lies in a folder that is open to others: chmod 700 {folder}, or give it one of its own"
        return Isolation("userns", "refused", f"userns: {why}")
    sandbox = Sandbox(hidden_paths(settings), _own_code())
    found = Isolation("userns", "userns", sandbox=sandbox)
    why = _tried(lambda: _look_from_inside(found, settings))
    return replace(found, mode="refused", why=f"userns: {why}") if why else found


def _look_from_inside(found: Isolation, settings: AgentSettings) -> str:
    """Run in a process of its own; why it does not work, empty when it does."""
    become_subreaper()
    folder = Path(tempfile.mkdtemp(prefix=f"easyalert_{os.getpid()}_", dir=settings.tmp_dir))
    try:
        (folder / "seen").touch()
        # of the agent's folder there is nothing but the way to the script's own
        check = '[ "$(ls -A "$1")" = tmp ] && [ -w "$2/seen" ] && [ "$(cat /proc/1/comm)" ]'
        running = namespaces.start(
            [_shell(), "-c", check, "look", os.path.realpath(settings.state_dir), str(folder)],
            env={"PATH": os.defpath}, cwd=folder, folder=folder, sandbox=found.sandbox,
        )  # fmt: skip
        code = running.wait()
        running.leaves_others()
    except NamespacesError as error:
        return str(error)
    else:
        return "" if code == 0 else "the agent's files were still there in the namespaces"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user(settings: AgentSettings, name: str, agent: str) -> Isolation:
    refused = Isolation(f"user:{name}", "refused")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        why = f"there is no account {name}: sudo useradd --system --no-create-home {name}"
        return replace(refused, why=f"user:{name}: {why}")
    groups = tuple(sorted({entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)}))
    account = Account(name, entry.pw_uid, entry.pw_gid, groups)
    missing = [right for right, number in _RIGHTS.items() if not rights() & 1 << number]
    if entry.pw_uid in {0, os.geteuid()}:
        why = f"{name} is {'root' if entry.pw_uid == 0 else 'the account of the agent itself'}"
    elif missing:
        why = (
            f"the agent's account may not become {name}: run the agent as root, or give its service"
            f" {' '.join('CAP_' + right for right in missing)} (AmbientCapabilities=)"
        )
    else:
        give_up_ambient_rights()  # else programs of the other account would get them
        found = Isolation(f"user:{name}", "user", account=account, scripts_dir=scripts_dir(agent))
        why = _tried(lambda: _look_as(account, settings.state_dir))
        if not why:
            return replace(found, exposed=_open_to_others(settings))
    return replace(refused, why=f"user:{name}: {why}")


def _look_as(account: Account, secret: Path) -> str:
    """As a script would: by a program of the account. Empty when it sees nothing."""
    check = '[ ! -r "$1" ] && [ ! -x "$1" ] && [ "$(id -u)" = "$2" ]'
    argv = [_shell(), "-c", check, "look", str(secret), str(account.uid)]
    looked = Plain(argv, {"PATH": os.defpath}, Path("/"), account)
    return "" if looked.wait() == 0 else f"{account.name} may read {secret}"


def _open_to_others(settings: AgentSettings) -> tuple[str, ...]:
    """Configuration files outside the agent's folder that every account may read."""
    for path in hidden_paths(settings):
        if path.is_file() and path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP):
            return ("configuration",)
    return ()


def _tried(attempt: Callable[[], str]) -> str:
    """Run `attempt` in a forked process, because it changes that; its words."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        text = "it was cut off"
        try:
            signal.alarm(_TRIED_WITHIN_S)
            text = attempt()
        except BaseException as error:  # noqa: BLE001 - this process must not go on as the pool
            text = f"{getattr(error, 'strerror', None) or error or type(error).__name__}"
        finally:
            os.write(writing, text.encode()[:4096] or b"\0")
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        words = pipe.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return words.strip("\0") if words else "it was cut off"


def hidden_paths(settings: AgentSettings) -> tuple[Path, ...]:
    """Folders and files a script has no business with. Inside of a hidden folder nothing is named by itself."""
    wanted = [
        settings.state_dir,
        settings.run_dir,
        settings.vault_path.parent,
        Path.cwd() / ".env",
        settings.policy_file,
        *(path for path in (settings.agent_api_key_file, settings.job_signature_keys_file) if path is not None),
        *settings.script_hidden_paths,
    ]
    paths = sorted({Path(os.path.realpath(path)) for path in wanted})
    return tuple(path for path in paths if not any(path != other and path.is_relative_to(other) for other in paths))


def _private(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _own_code() -> tuple[Path, ...]:
    """The virtual environment and the packages' folder: what a script of the same account could change for later."""
    places = []
    if sys.prefix != sys.base_prefix:
        places.append(Path(os.path.realpath(sys.prefix)))
    packages = Path(__file__).resolve().parent.parent
    if not any(packages.is_relative_to(place) for place in places) and packages.name not in {
        "site-packages",
        "dist-packages",
    }:
        places.append(packages)
    # never the file system's root or its first folders: a script has to be able to work
    return tuple(place for place in places if len(place.parts) > 2)


def _shell() -> str:
    return shutil.which("sh") or "/bin/sh"
