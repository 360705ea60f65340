"""A worker process, from its fork to its end: wait for a key, run its job, say so; one job at a time, in itself."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import signal
import sys
import time
from typing import Any, Final, NoReturn

from redis.exceptions import RedisError, ResponseError
from rq.executions import Execution

from easyalert import crashpoints
from easyalert.errors import JournalDamaged, JournalError
from easyalert.hardening import become_subreaper, die_with_parent
from easyalert.journal import JobRow, Journal
from easyalert.queues import AgentJob, agent_queue, is_servers_trouble, is_wrong_type
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, this_process
from workers import confinement, jobs
from workers.entries import Entries
from workers.jobs import Ended, JobRunner
from workers.lifeline import Lifeline
from workers.toolbox import Toolbox
from workers.worker import POP_S, AgentWorker, Withdrawn, worker_name

log = logging.getLogger(__name__)

_AWAY_FIRST_S: Final = 0.05
_AWAY_CAP_S: Final = 2.0
_DEBTS_MAX: Final = 1000
_DEBT_TRIES: Final = 3
"""A view that Redis refuses so often is left as it is: somebody else has written to it."""


def child_main(tools: Toolbox, slot: int, lifeline: Lifeline) -> NoReturn:
    """The whole life of a forked worker; never returns."""
    code = EXIT_FAILURE
    try:
        begin_after_fork()
        tools.confinement.enter()
        _Child(tools, lifeline, slot).serve()
        code = EXIT_OK
    except JournalError:
        log.exception("a worker ends")
    except Exception:
        log.exception("a worker ends unexpectedly")
    finally:
        leave(code)


def begin_after_fork() -> None:
    """What every forked process of the pool does first: own signals, own randomness, tied to the parent's life."""
    parent = os.getppid()
    signal.set_wakeup_fd(-1)
    # Signals for a whole group or control group are the parent's to obey. Handlers instead of SIG_IGN, because
    # "ignored" would be inherited by the programs of jobs, which then could not be terminated.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _not_mine)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, _orphaned)
    die_with_parent(signal.SIGUSR2)
    become_subreaper()
    if os.getppid() != parent:
        _orphaned()
    random.seed()


def leave(code: int) -> NoReturn:
    """End a forked process without running what the parent has registered for its own end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _not_mine(*_: object) -> None:
    """The pool's parent says over the lifeline what is to be done."""


def _orphaned(*_: object) -> None:
    """The parent is gone: nobody keeps the cap or the deadlines any more. Take the job's processes along."""
    confinement.mine().end()
    confinement.mine().leave()
    os._exit(EXIT_FAILURE)


class _Child:
    def __init__(self, tools: Toolbox, lifeline: Lifeline, slot: int) -> None:
        self._lifeline = lifeline
        self._journal = Journal(tools.settings.journal_path)
        name = worker_name(tools.settings.agent_name, slot, os.getpid())
        queue = agent_queue(tools.redis)
        self._worker = AgentWorker(queue, name)
        self._entries = Entries(queue, self._journal.queued_keys)
        self._runner = JobRunner(
            tools,
            self._journal,
            this_process(),
            announce=self._announce,
            recording_waits=lambda: lifeline.say("recording"),
            cancelled_by=self._cancelled_by,
            wake_fd=lifeline.fileno(),
        )
        jobs.install(self._runner)
        self._stopping = False
        self._cancels: dict[str, str] = {}
        """Keys of jobs that are to be ended, and who wants it."""
        self._published_at = -float(POP_S)
        self._away = 0
        """Consecutive failures of Redis."""
        self._debts: list[tuple[AgentJob, Ended, Execution | None]] = []
        """Ends of jobs that Redis has not been told because it was away."""
        self._tries = 0
        """How often Redis has refused the first of them."""
        self._job: AgentJob | None = None
        self._execution: Execution | None = None

    def serve(self) -> None:
        """Until told to stop, or the parent is gone."""
        while not self._stopping:
            key = None
            try:
                self._pay_debts()
                if self._away or time.monotonic() - self._published_at >= POP_S:
                    self._publish()
                key = self._next_key()
            except (RedisError, OSError) as error:
                self._wait_out(error)
            self._listen()
            if key is not None and not self._stopping:
                self._take(key)
        self._runner.close()
        with contextlib.suppress(RedisError, OSError):
            self._pay_debts()
            self._worker.bury()
        self._journal.close()

    def _next_key(self) -> str | None:
        """The next key; renewing the registration every POP_S meanwhile. None: somebody spoke on the lifeline."""
        while True:
            try:
                key = self._worker.pop(self._lifeline.fileno())
            except Withdrawn:
                return None
            if self._away:
                log.info("Redis is back")
                self._away = 0
            if key is not None:
                return key
            self._publish()

    def _publish(self) -> None:
        self._worker.publish()
        self._published_at = time.monotonic()

    def _listen(self) -> None:
        try:
            heard = self._lifeline.hear()
        except EOFError:
            self._stopping = True
            return
        for message in heard:
            if message["word"] == "stop":
                self._stopping = True
            elif message["word"] == "cancel":
                self._cancels[message["key"]] = message["by"]

    def _cancelled_by(self, key: str) -> str | None:
        self._listen()
        return self._cancels.get(key)

    def _take(self, key: str) -> None:
        """One job. From here to the fence nothing has happened; the reconciler repeats whatever is left undone."""
        self._lifeline.say("busy", key=key)
        crashpoints.reached("popped")
        try:
            self._job, self._execution = self._known(key), None
            if self._job is not None:
                self._perform(self._job)
        except (RedisError, OSError) as error:
            self._wait_out(error)
        except JournalDamaged:
            raise
        except JournalError:
            log.exception("job %s was not started", key)
            self._pause(1.0)
        finally:
            self._job = None
            self._cancels.clear()
            self._lifeline.say("idle")

    def _known(self, key: str) -> AgentJob | None:
        """The job behind a popped key; None, and it is dropped, when it is none of this agent's."""
        if self._journal.get(key) is None:
            self._entries.drop(key, "this agent has no such job")
            return None
        return self._entries.fetch(key)

    def _perform(self, job: AgentJob) -> None:
        self._listen()
        if self._stopping:
            return
        ended: Ended | None = job.func(*job.args)
        if ended is None:  # a double, or too late: show what the journal knows
            ended = self._runner.ended(job.id)
        if ended is not None:
            self._debts.append((job, ended, self._execution))
            del self._debts[:-_DEBTS_MAX]
            self._pay_debts()

    def _announce(self, row: JobRow, deadline: float) -> None:
        self._lifeline.say("running", key=row.key, deadline=deadline)
        if self._job is not None:
            with contextlib.suppress(RedisError, OSError):
                self._execution = self._worker.begin(self._job, row.timeout_s)

    def _pay_debts(self) -> None:
        while self._debts:
            job = self._debts[0][0]
            try:
                self._worker.end(*self._debts[0])
            except ResponseError as error:
                if is_servers_trouble(error):
                    raise
                # whoever writes to Redis decides what goes wrong here; none of it may keep jobs from running
                self._tries += 1
                if self._tries < _DEBT_TRIES:
                    self._worker.mend(job.id)
                    continue
                log.warning("Redis does not show how job %s ended (%s)", job.id, type(error).__name__)
            del self._debts[0]
            self._tries = 0

    def _wait_out(self, error: Exception) -> None:
        """Redis is away: wait, at most _AWAY_CAP_S, so that work goes on at once when it is back."""
        if is_wrong_type(error):
            with contextlib.suppress(RedisError, OSError):
                if self._worker.mend():
                    return
        if not self._away:
            log.warning("Redis does not answer (%s); jobs wait in the journal", type(error).__name__)
        self._away += 1
        self._pause(min(_AWAY_CAP_S, _AWAY_FIRST_S * 2.0 ** min(self._away, 10)))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        ready: list[Any] = []
        while not ready and (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self._lifeline.fileno()], [], [], left)
