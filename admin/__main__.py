"""`python -I -m admin`: wiring only."""

from __future__ import annotations

import asyncio
import logging
import sys

from admin import api
from admin.guard import Guard
from admin.rotation import Rotation
from admin.server import ADDRESS, listen, serve
from admin.status import StatusReader
from admin.token import admin_token
from admin.watch import watch
from easyalert.logs import hidden_in_logs
from easyalert.redact import Redactor
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, Stop
from easyalert.settings import AgentSettings
from easyalert.startup import begin
from vault import Vault, VaultKey

log = logging.getLogger("admin")


async def run(settings: AgentSettings) -> int:
    """Work until SIGTERM or SIGINT; answer the exit code."""
    stop = Stop()
    stop.install()
    previous = settings.agent_api_key_previous
    vault = Vault(
        settings.vault_path,
        VaultKey(settings.agent_api_key.get_secret_value(), previous.get_secret_value() if previous else None),
    )
    async with asyncio.TaskGroup() as tasks:
        # Neither waits for the port: the vault is looked after while another program holds it.
        tasks.create_task(watch(vault, settings.journal_path, stop))
        tasks.create_task(answer(settings, vault, stop))
    log.info("stopped (%s)", stop.reason)
    return EXIT_OK


async def answer(settings: AgentSettings, vault: Vault, stop: Stop) -> None:
    """Bring the vault to the present API key, then answer requests until the stop."""
    rotation = Rotation(settings, vault)
    await asyncio.to_thread(rotation.finish)
    token = admin_token(settings)
    with hidden_in_logs(Redactor([token])):
        listener = await listen(settings.admin_port, stop)
        if listener is None:
            return
        app = api.build(vault, rekey=rotation.rekey, status=StatusReader(settings, vault).read)
        log.info("the admin API answers on http://%s:%d", ADDRESS, settings.admin_port)
        await serve(Guard(app, token=token), listener, stop)


def main() -> int:
    """Entry point of the process."""
    settings = begin("admin")
    # Its INFO lines say what ours say, in another form.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        return asyncio.run(run(settings))
    except Exception:
        log.exception("the admin API ended by a mistake of ours; supervisord starts it again")
        return EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
