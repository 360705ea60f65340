"""`python -I -m poller`: wiring only."""

from __future__ import annotations

import asyncio
import logging
import sys

from easyalert.errors import ConfigurationError
from easyalert.runtime import EXIT_CONFIGURATION, EXIT_OK
from easyalert.startup import begin


def main() -> int:
    """Run until SIGTERM; the exit code."""
    settings = begin("poller")
    import uvloop  # noqa: PLC0415 - settings and logging stand before anything heavy is imported

    from poller.program import run  # noqa: PLC0415 - as above

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except ConfigurationError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the sentence says it all
        return EXIT_CONFIGURATION
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
