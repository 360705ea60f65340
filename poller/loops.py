"""How a loop of this process fails: said clearly, tried again after a growing pause, never a crash loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from easyalert.errors import EasyAlertError
from easyalert.logs import describe_exception
from easyalert.runtime import Backoff, Stop
from poller.condition import Condition

log = logging.getLogger(__name__)

_WELL_AFTER_S: Final = 5.0


async def keep_running(
    name: str,
    loop: Callable[[], Coroutine[Any, Any, None]],
    *,
    stop: Stop,
    condition: Condition,
    backoff: Backoff | None = None,
    well_after_s: float = _WELL_AFTER_S,
) -> None:
    """Run `loop` until the stop. An eternal loop that raises or returns before is started again, later each time."""
    part = f"{name} loop"
    pauses = backoff or Backoff(first=0.5, cap=30)
    while not stop.is_set:
        running = asyncio.create_task(loop(), name=name)
        try:
            await asyncio.wait({running}, timeout=well_after_s)
            if not running.done():
                pauses.reset()
                condition.solved(part)
            await running
            if not stop.is_set:
                condition.problem(part, "ended without being told to; it is started again")
        except EasyAlertError as error:
            condition.problem(part, str(error))
        except Exception as error:
            log.exception("the %s failed in a way it should not", part)
            condition.problem(part, describe_exception(error))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await stop.wait(pauses.next())
