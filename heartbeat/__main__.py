"""`python -I -m heartbeat`: wiring only."""

from __future__ import annotations

import asyncio
import logging
import sys

from easyalert.breaker import CircuitBreaker
from easyalert.client import ControlPlaneClient
from easyalert.errors import EasyAlertError
from easyalert.journal import Journal
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, Stop
from easyalert.settings import AgentSettings
from easyalert.startup import begin
from heartbeat.beat import Heart
from heartbeat.components import Components
from heartbeat.metrics import HostMetrics

log = logging.getLogger(__name__)


async def beat(settings: AgentSettings) -> None:
    """Run the heart until SIGTERM or SIGINT."""
    stop = Stop()
    stop.install()
    with Journal(settings.journal_path) as journal:
        components = Components(settings)
        try:
            # one beat per interval is gentle enough: a breaker would only make an agent look dead for longer
            client = ControlPlaneClient(settings, breaker=CircuitBreaker(threshold=sys.maxsize))
            try:
                await Heart(settings, journal, client, components=components, metrics=HostMetrics()).run(stop)
            finally:
                await client.close()
        finally:
            components.close()


def main() -> int:
    """Returns the exit code; supervisord starts it again after a failure."""
    settings = begin("heartbeat")
    try:
        asyncio.run(beat(settings))
    except EasyAlertError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return EXIT_FAILURE
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
