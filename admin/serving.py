"""The server's process: forked at a first connection, with the web framework that only it needs, gone when unused."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from admin.watch import watch
from easyalert.audit import record
from easyalert.hardening import die_with_parent
from easyalert.logs import hidden_in_logs
from easyalert.redact import Redactor
from easyalert.rotation import Rotation
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, Stop
from easyalert.settings import AgentSettings
from vault import Vault

log = logging.getLogger(__name__)

END_WITHIN_S = 8.0
"""From SIGTERM to SIGKILL for the server's process; supervisord gives the program 10 s."""


@dataclass(frozen=True)
class Service:
    """What is served, and to whom."""

    settings: AgentSettings
    vault: Vault
    rotation: Rotation
    token: str
    listener: socket.socket


def fork_server(service: Service) -> int:
    """Answer the pid. Call it where no other thread runs."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_FAILURE
    try:
        _leave_the_parent(parent)
        asyncio.run(_run(service))
        code = EXIT_OK
    except Exception:
        log.exception("the admin API ended by a mistake of ours; supervisord starts it again")
    finally:
        os._exit(code)


async def outlast(pid: int, stop: Stop) -> int:
    """Wait for the end of the server's process, and end it at the stop. Answers its exit code, 0 after a stop."""
    ended = asyncio.Event()
    handle = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        if await stop.wait(None, ended) and not ended.is_set():
            os.kill(pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(ended.wait(), END_WITHIN_S)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended, or was killed
    return EXIT_OK if stop.is_set else os.waitstatus_to_exitcode(status)


def _leave_the_parent(parent: int) -> None:
    """The event loop that runs in the parent's frames below is not touched again: this process ends by `os._exit`."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # at once, as the next parent needs the port
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        _gone()


def _gone() -> NoReturn:
    os._exit(EXIT_FAILURE)


def _recorder(settings: AgentSettings, by: str) -> Callable[[str, str], None]:
    def told(kind: str, connection_id: str) -> None:
        record(settings.journal_path, settings.audit_dir, kind, connectionId=connection_id, by=by)

    return told


async def _run(service: Service) -> None:
    # FastAPI and what it brings: 20 MB and 0.3 s, which is why all this is a process of its own
    from admin import api  # noqa: PLC0415 - as above
    from admin.guard import Guard  # noqa: PLC0415 - as above
    from admin.server import IDLE_S, serve  # noqa: PLC0415 - as above
    from admin.status import StatusReader  # noqa: PLC0415 - as above

    # Its INFO lines say what ours say, in another form.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    stop = Stop()
    stop.install()
    settings, vault, rotation = service.settings, service.vault, service.rotation
    with hidden_in_logs(Redactor([service.token])):
        status = StatusReader(settings, vault).read
        app = api.build(vault, rekey=rotation.rekey, status=status, record=_recorder(settings, api.BY))
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(vault, settings.journal_path, stop))
            guarded = Guard(app, token=service.token)
            # after a rotation this process alone knows the vault's new key
            await serve(guarded, service.listener, stop, idle_s=IDLE_S, may_end=lambda: not rotation.rekeyed)
            watching.cancel()
