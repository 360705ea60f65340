"""`python -I -m admin`: listens and looks after the vault; the server is a process forked when somebody connects."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from admin.listener import ADDRESS, a_call, listen
from admin.serving import Service, fork_server, outlast
from admin.token import admin_token
from admin.watch import watch
from easyalert.rotation import Rotation
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, Stop
from easyalert.settings import AgentSettings
from easyalert.startup import begin
from vault import Vault, VaultKey

log = logging.getLogger("admin")

T = TypeVar("T")


async def run(settings: AgentSettings) -> int:
    """Work until SIGTERM or SIGINT; answer the exit code. No thread is started here: it forks."""
    stop = Stop()
    stop.install()
    previous = settings.agent_api_key_previous
    vault = Vault(
        settings.vault_path,
        VaultKey(settings.agent_api_key.get_secret_value(), previous.get_secret_value() if previous else None),
    )
    rotation = Rotation(settings, vault)
    rotation.finish()
    token = admin_token(settings)
    # The vault is looked after, too, while another program holds the port.
    listener = await _looking_after(vault, settings, stop, listen(settings.admin_port, stop))
    if listener is not None:
        log.info("the admin API answers on http://%s:%d", ADDRESS, settings.admin_port)
        service = Service(settings, vault, rotation, token, listener)
        while not stop.is_set:
            await _looking_after(vault, settings, stop, a_call(listener, stop))
            if not stop.is_set and await outlast(fork_server(service), stop) != EXIT_OK:
                return EXIT_FAILURE
    log.info("stopped (%s)", stop.reason)
    return EXIT_OK


async def _looking_after(vault: Vault, settings: AgentSettings, stop: Stop, wait: Coroutine[Any, Any, T]) -> T:
    """The outcome of `wait`; meanwhile the vault is watched. Where a server runs, that is the one who does it."""
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch(vault, settings.journal_path, stop, threads=False))
        outcome = await wait
        watching.cancel()
    return outcome


def main() -> int:
    """Entry point of the process."""
    settings = begin("admin")
    try:
        return asyncio.run(run(settings))
    except Exception:
        log.exception("the admin API ended by a mistake of ours; supervisord starts it again")
        return EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
