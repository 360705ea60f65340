"""Live output: what running jobs print goes to the control plane in numbered chunks, as it comes.

Nothing waits for it: it has requests of its own, past the breaker, a bounded pace, and what the control plane does not
take in time is dropped from the middle by the spool. The control plane's answers say which number it expects next, so
after a lost connection or a restart of either side exactly that is sent. Where the extension is not spoken, nothing is
sent and spools are removed when their jobs have ended.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from easyalert.errors import ControlPlaneError, RateLimited, Refused
from easyalert.journal import State
from easyalert.protocol import features
from easyalert.protocol.messages import OutputRequest
from easyalert.runtime import Backoff
from easyalert.spool import hidden_spools, remove_spool, show_spool, shown_spools
from poller.parts import Parts
from poller.sending import Batch, Sending
from poller.session import Registration

log = logging.getLogger(__name__)

_PART: Final = "live output"
_PACE_S: Final = 0.1
"""Between two rounds: what was printed meanwhile goes in one request per job."""
_LOOK_S: Final = 2.0
_EARLY_S: Final = 1.0
"""A spool whose worker has not shown it by then has lost its worker."""
_ROUND_BYTES: Final = 1_048_576
KEPT_BYTES: Final = 256 * 1024 * 1024
"""Of ended jobs, while the control plane is away; then the oldest are removed. Their results stay in the journal."""
_FOR_GOOD: Final = frozenset({400, 404, 409, 413, 422})
_UNSETTLED: Final = (State.TAKEN, State.QUEUED, State.STARTED)


class OutputSender:
    """Sends until `end` is set, as results are; what is not delivered then goes on after the next start."""

    def __init__(self, parts: Parts, printed: asyncio.Event) -> None:
        self._parts = parts
        self._folder = parts.settings.output_dir
        self._printed = printed
        self._backoff = Backoff(first=0.5, cap=15)
        self._sendings: dict[str, Sending] = {}
        """In the order in which they are served."""
        self._ended_sizes: dict[str, int] = {}
        self._looked_at = float("-inf")

    async def run(self) -> None:
        """The loop. Raises JournalError."""
        session, end = self._parts.session, self._parts.end
        while not end.is_set:
            if not session.ready.is_set():
                await end.wait(None, session.ready)
                continue
            left = self._parts.client.breaker.seconds_left()
            if left > 0:
                await end.wait(left)
                continue
            self._printed.clear()
            self._look()
            more = await self._round(session.current)
            if not await end.wait(_PACE_S) and not more:
                await end.wait(_LOOK_S - _PACE_S, self._printed)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        regular = now - self._looked_at >= _LOOK_S
        if regular:
            self._looked_at = now
            for key in hidden_spools(self._folder, _EARLY_S):
                show_spool(self._folder, key)
        found = shown_spools(self._folder)
        for key in self._sendings.keys() - set(found):
            self._forget(key)
        for key in found:
            self._sendings.setdefault(key, Sending(key, self._folder / key))
        if regular:
            for sending in self._sendings.values():
                if sending.quiet and not sending.ended and self._abandoned(sending):
                    sending.ended = True
            self._keep_bounded()

    def _abandoned(self, sending: Sending) -> bool:
        """Whether the process that printed is gone, and nobody will go on in its place."""
        if sending.job is not None and sending.job.owner.alive():
            return False
        row = self._parts.journal.get(sending.key)
        return row is None or row.state not in _UNSETTLED

    async def _round(self, registration: Registration) -> bool:
        """One request per job that has something; True when there is more to send at once."""
        spoken = registration.has(features.OUTPUT)
        more, sent = False, 0
        for key, sending in list(self._sendings.items()):
            if sent >= _ROUND_BYTES or self._parts.end.is_set:
                return True
            try:
                batch = sending.batch()
                if not (batch.read or batch.totals):
                    continue
                self._sendings[key] = self._sendings.pop(key)  # served: behind the others
                if not spoken or sending.refused or (sending.job is None and batch.totals):
                    self._pass_over(sending, batch)
                else:
                    await self._send(sending, batch, registration)
            except OSError as error:
                log.warning("the live output of %s cannot be read (%s) and is dropped", key, error.strerror)
                self._drop(key)
            except ControlPlaneError as error:
                await self._failed(sending, error)
                more = True  # the pause is over
            else:
                sent += batch.size
                more = more or batch.read
        return more

    async def _send(self, sending: Sending, batch: Batch, registration: Registration) -> None:
        if sending.job is None or not (batch.chunks or batch.totals):
            sending.pass_over(batch)
            return
        said = {} if batch.totals is None else {"totals": batch.totals}
        request = OutputRequest(
            agent_id=registration.agent_id, attempt=sending.job.attempt or 1, chunks=batch.chunks, **said
        )
        answer = await self._parts.client.send_output(sending.job.job_id, request)
        self._parts.condition.solved(_PART)
        taken = sending.answered(batch, answer.next)
        if batch.totals is not None and answer.next >= batch.end:
            self._drop(sending.key)
        elif taken:
            self._backoff.reset()
        else:
            await self._parts.end.wait(self._backoff.next())

    async def _failed(self, sending: Sending, error: ControlPlaneError) -> None:
        if isinstance(error, Refused) and error.status in _FOR_GOOD:
            log.info("the control plane does not take the live output of %s: %s", sending.key, error)
            sending.refused = True
            return
        self._parts.condition.problem(_PART, str(error))
        asked = error.retry_after if isinstance(error, RateLimited) else 0.0
        await self._parts.end.wait(max(asked, self._backoff.next()))

    def _pass_over(self, sending: Sending, batch: Batch) -> None:
        sending.pass_over(batch)
        if batch.totals is not None:
            self._drop(sending.key)

    def _keep_bounded(self) -> None:
        for key, sending in self._sendings.items():
            if sending.ended and key not in self._ended_sizes:
                self._ended_sizes[key] = _size(sending.folder)
        while sum(self._ended_sizes.values()) > KEPT_BYTES:
            self._drop(next(iter(self._ended_sizes)))

    def _drop(self, key: str) -> None:
        remove_spool(self._folder / key)
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._sendings.pop(key, None)
        self._ended_sizes.pop(key, None)


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except FileNotFoundError:  # removed meanwhile
        return 0
