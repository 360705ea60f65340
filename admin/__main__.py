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
from easyalert.logs import hidden_in_logs
from easyalert.redact import Redactor
from easyalert.runtime import EXIT_OK, Stop
from easyalert.settings import AgentSettings
from easyalert.startup import begin
from vault import Vault, VaultKey

log = logging.getLogger("admin")


async def run(settings: AgentSettings) -> int:
    """Serve until SIGTERM or SIGINT; answer the exit code."""
    stop = Stop()
    stop.install()
    previous = settings.agent_api_key_previous
    vault = Vault(
        settings.vault_path,
        VaultKey(settings.agent_api_key.get_secret_value(), previous.get_secret_value() if previous else None),
    )
    rotation = Rotation(settings, vault)
    token = admin_token(settings)
    with hidden_in_logs(Redactor([token])):
        listener = await listen(settings.admin_port, stop)
        if listener is None:
            return EXIT_OK
        finishing = asyncio.create_task(asyncio.to_thread(rotation.finish))
        app = api.build(
            vault,
            rekey=rotation.rekey,
            status=StatusReader(settings, vault).read,
        )
        log.info("the admin API answers on http://%s:%d", ADDRESS, settings.admin_port)
        await serve(Guard(app, token=token), listener, stop)
        await finishing
    log.info("stopped (%s)", stop.reason)
    return EXIT_OK


def main() -> int:
    """Entry point of the process."""
    settings = begin("admin")
    # Its INFO lines say what ours say, in another form.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
