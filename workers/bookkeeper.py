"""The pool's bookkeeper: settles in the journal what dead workers leave behind, and keeps Redis's view of them true.

One process beside the workers, forked by the same parent. It exists so that the parent touches neither SQLite nor
Redis: nothing of them is carried over a fork, and no slow disk or hanging Redis can hold up a deadline. It is told what
happens over its lifeline, looks for itself every 2 s, and may die at any time: the parent makes another.
"""

from __future__ import annotations

import contextlib
import logging
import select
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from redis.exceptions import ConnectionError, RedisError, TimeoutError  # noqa: A004 - redis's own, as it names them

from easyalert import wakeup
from easyalert.audit import AuditLog, move
from easyalert.cgroups import Place
from easyalert.errors import AuditError, JournalDamaged, JournalError, QueueError
from easyalert.journal import JobRow, Journal, State
from easyalert.journal.pause import lift_rekey_pause
from easyalert.queues import agent_queue, enqueue, is_wrong_type, remove_wrong_types
from easyalert.redact import Redactor
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, ProcessIdentity
from workers import guards, isolation, trees
from workers.child import begin_after_fork, leave
from workers.doorbell import Doorbell
from workers.isolation import scripts_dir
from workers.jobs import Ended
from workers.lifeline import Lifeline
from workers.sdk import envelope, failure
from workers.toolbox import Toolbox
from workers.worker import AgentWorker, forget_names, pid_of, registered_names, show_end

log = logging.getLogger(__name__)

TICK_S: Final = 2.0
AUDIT_NOTE: Final = "audit"
"""Journal note `{"state": word}`: how the audit record is."""
CAPABILITIES_NOTE: Final = "capabilities"
"""Journal note with the kinds of actions this agent has; the poller registers with it."""
REPEATABLE_NOTE: Final = "repeatable"
"""Actions that may run twice whatever their parameters, as far as is known without loading more; written first."""
CONFINEMENT_NOTE: Final = "confinement"
"""Journal note `{"sentence", "folder"}`: how jobs' processes are kept together, and where their groups are, or null."""
_LOOKS: Final = 4
_STRANGERS_MAX: Final = 500
"""No agent has had so many workers; burying each takes half a millisecond."""
_STALE_TEMPORARY: Final = "easyalert_*"
"""Then the pid of the worker, see `Context.temporary_prefix`."""


def bookkeeper_main(tools: Toolbox, lifeline: Lifeline, pool_pid: int, *, first: bool) -> NoReturn:
    """The whole life of the forked bookkeeper; never returns. `first`: the pool has no workers yet."""
    code = EXIT_FAILURE
    try:
        begin_after_fork()
        with Journal(tools.settings.journal_path) as journal:
            bookkeeper = Bookkeeper(tools, journal, pool_pid)
            if first:
                bookkeeper.open_books()
            lifeline.say("ready")
            with Doorbell(tools.settings.workers_socket) as bell:
                _keep(bookkeeper, lifeline, bell)
        code = EXIT_OK
    except JournalError:
        log.exception("the workers' books cannot be kept")
    except Exception:
        log.exception("the bookkeeper ends unexpectedly")
    finally:
        leave(code)


def _keep(bookkeeper: Bookkeeper, lifeline: Lifeline, bell: Doorbell) -> None:
    next_tick = time.monotonic()
    while True:
        select.select([lifeline.fileno(), *bell.filenos()], [], [], max(0.0, next_tick - time.monotonic()))
        bell.silence()
        try:
            for message in lifeline.hear():
                if message["word"] == "finish":
                    bookkeeper.tick()
                    return
                bookkeeper.hear(message)
        except EOFError:
            return
        if time.monotonic() >= next_tick:
            bookkeeper.tick()
            next_tick = time.monotonic() + TICK_S
        for key, by in bookkeeper.to_cancel():
            lifeline.say("cancel", key=key, by=by)


class Bookkeeper:
    """Journal and Redis on the pool's behalf. Raises JournalError; what Redis missed is tried again."""

    def __init__(self, tools: Toolbox, journal: Journal, pool_pid: int) -> None:
        self._tools = tools
        self._journal = journal
        self._pool_pid = pool_pid
        self._queue = agent_queue(tools.redis)
        self._guards = tools.guards()
        self._standing: dict[str, Any] = {}
        """Of policy and signatures, as it was noted last."""
        self._heard: list[dict[str, Any]] = []
        """Messages not obeyed yet, because the journal could not be written."""
        self._blocked = False
        self._audit = AuditLog(tools.settings.audit_dir)
        self._audit_state: str | None = None
        self._for_redis: list[Callable[[], None]] = []
        """What Redis has not been told yet."""

    # ---- at the start, before the first worker ----------------------------------------------------------------------

    def open_books(self) -> None:
        """Say what this agent can do, settle what an earlier pool has left, and sweep up after it."""
        self._journal.leave_note(REPEATABLE_NOTE, self._tools.repeatable())
        self._journal.leave_note(CAPABILITIES_NOTE, self._tools.registry.kinds())
        self._journal.leave_note(isolation.NOTE, self._tools.isolation.wire())
        guards.forget(self._journal)
        # all at once, before the rows: looking for one job's after the other's takes as long for each
        swept = self._end_earlier_groups()
        swept += trees.kill_all(
            # a process has no environment for a moment while it becomes another program: one look is not enough
            lambda: trees.marked(f"@{self._tools.agent}"),
            by_birth=False,
            looks=_LOOKS,
        )
        if lift_rekey_pause(self._journal, lambda: self._tools.vault.check().state in {"ok", "empty"}):
            log.info("these workers open the rekeyed vault: jobs start again")
            wakeup.notify(self._tools.settings.wakeup_socket)
        self._recover()
        if swept:
            log.warning("killed %d processes that jobs of an earlier run had left", swept)
        self._remove_files()
        self._for_redis.append(self._bury_strangers)
        self._tell_redis()

    def _end_earlier_groups(self) -> int:
        """Those of an earlier pool, also where another session or unit had started it."""
        ours = self._tools.confinement
        earlier = self._journal.note(CONFINEMENT_NOTE)
        count = ours.end_others(set())
        folder = earlier.get("folder") if isinstance(earlier, dict) else None
        if folder and (ours.place is None or str(ours.place.folder) != folder):
            count += replace(ours, place=Place(Path(folder), limits=False)).end_others(set())
        here = None if ours.place is None else str(ours.place.folder)
        self._journal.leave_note(CONFINEMENT_NOTE, {"sentence": ours.sentence, "folder": here})
        return count

    # ---- while the pool runs ----------------------------------------------------------------------------------------

    def obey(self, message: dict[str, Any]) -> None:
        """One message of the parent: `died` (name, key or null), `overshot` (also seconds), `alive` (workers)."""
        match message["word"]:
            case "died":
                self._forget_worker(message["name"])
                if message["key"]:
                    self._settle_key(message["key"])
            case "overshot":
                self._forget_worker(message["name"])
                self._time_out(message["key"], message["seconds"])
            case "alive":
                # newer figures make older ones useless: nothing is kept for later
                with contextlib.suppress(RedisError, OSError):
                    self._renew(message["workers"])

    def hear(self, message: dict[str, Any]) -> None:
        """Obey, now or, while the journal cannot be written, later. Raises JournalDamaged."""
        self._heard.append(message)
        self._catch_up()

    def tick(self) -> None:
        """Every TICK_S, whether or not anything was said. Raises JournalDamaged."""
        if self._catch_up():
            self._note_standing()
            self._record()
            self._remove_files()
            self._tell_redis()

    def _record(self) -> None:
        """Move what happened into the audit record; while that cannot be written, it waits in the journal."""
        state = "ok"
        try:
            move(self._journal, self._audit)
        except AuditError as error:
            state = "not written"
            if self._audit_state != state:
                log.warning("%s; jobs go on, what is to be recorded waits in the journal", error)
        except JournalDamaged:
            raise
        except JournalError:
            return  # said elsewhere
        if state != self._audit_state:
            with contextlib.suppress(JournalError):
                self._journal.leave_note(AUDIT_NOTE, {"state": state})
                self._audit_state = state

    def to_cancel(self) -> list[tuple[str, str]]:
        """Running jobs that are to be ended, and who wants it. Raises JournalDamaged."""
        try:
            return [(row.key, row.cancel_by or "") for row in self._journal.cancel_requests()]
        except JournalDamaged:
            raise
        except JournalError:
            return []  # asked for again at the next tick

    def _catch_up(self) -> bool:
        try:
            while self._heard:
                self.obey(self._heard[0])
                del self._heard[0]
            self._recover()
        except JournalDamaged:
            raise
        except JournalError:
            if not self._blocked:
                log.exception("what dead workers left behind waits to be settled")
            self._blocked = True
            return False
        self._blocked = False
        return True

    def _recover(self) -> None:
        for row in self._journal.running():
            owner = row.owner
            if owner is None or not owner.alive():
                self._settle(row)
            elif _parent_of(owner.pid) != self._pool_pid and owner.alive():
                # a worker that has outlived its pool: nobody keeps its deadline, nobody counts it
                log.warning("killing worker %d, which an earlier pool has left behind", owner.pid)
                self._tools.confinement.end_of(owner.pid, owner.start_ticks)
                trees.kill_all(partial(_family, owner))
                self._settle(row)

    def _note_standing(self) -> None:
        """How policy and signatures stand, for the heartbeat and for people: noted and said once per change."""
        try:
            standing = self._guards.standing(self._journal)
            if standing == self._standing:
                return
            audited = guards.to_record(standing, self._journal.note(guards.NOTE))
            self._journal.leave_note(guards.NOTE, standing, audited=audited)
        except JournalDamaged:
            raise
        except JournalError:
            return  # at the next tick
        self._standing = standing
        if standing["sentence"]:
            log.error("policy: %s: %s", standing["state"], standing["sentence"])
        elif standing["inForce"]:
            log.warning("policy: %s with %d rules is in force%s", standing["file"], standing["rules"],
                        "; dry run, nothing is run" if standing["dryRun"] else "")  # fmt: skip

    def _settle_key(self, key: str) -> None:
        row = self._journal.get(key)
        if row is None or row.state is not State.STARTED:
            return  # it had not started, or had ended: nothing is in doubt
        if row.owner is None or not row.owner.alive():
            self._settle(row)

    def _settle(self, row: JobRow) -> None:
        """The owner is gone. First its processes, then the row: what is queued again must not meet the old run."""
        owner = row.owner
        hunted = 0 if owner is None else self._tools.confinement.end_of(owner.pid, owner.start_ticks)
        mark = trees.job_mark(row.key, self._tools.agent)
        hunted += trees.kill_all(lambda: trees.marked(mark), by_birth=False)
        if hunted:
            log.warning("job %s: killed %d processes of its dead worker", row.job_id, hunted)
        state = self._journal.owner_died(
            row, run_again=self._tools.may_repeat(row), params_digest=self._tools.params_digest(row)
        )
        log.warning("the worker of job %s (%s) died; the job is now %s", row.job_id, row.action, state)
        if state is State.QUEUED:
            with contextlib.suppress(QueueError):  # else the poller's reconciler does it
                enqueue(self._queue, [(row.key, row.description, row.timeout_s)])
        elif state is not None:
            self._show_end(row.key)
        wakeup.notify(self._tools.settings.wakeup_socket)

    def _time_out(self, key: str, seconds: int) -> None:
        row = self._journal.get(key)
        if row is None or row.state is not State.STARTED:
            return
        result = failure(
            f"timed out after {seconds} seconds; its worker did not react and was killed",
            exit_code=-1,
            outcome="timed_out",
        )
        recorded = envelope(row.job_id, result, Redactor(), seconds * 1000)
        digest = self._tools.params_digest(row)
        self._journal.finish(key, recorded, outcome="timed_out", fault="agent", params_digest=digest)
        log.warning("job %s (%s) overran its %d seconds; its worker was killed", row.job_id, row.action, seconds)
        self._show_end(key)
        wakeup.notify(self._tools.settings.wakeup_socket)

    def _remove_files(self) -> None:
        """What dead workers' jobs have left on the disk: scripts may hold secrets."""
        for place in (self._tools.settings.tmp_dir, scripts_dir(self._tools.agent)):
            for leftover in place.glob(_STALE_TEMPORARY):
                pid = leftover.name.split("_")[1]
                if not pid.isdigit() or _parent_of(int(pid)) != self._pool_pid:
                    shutil.rmtree(leftover, ignore_errors=True)

    # ---- Redis ------------------------------------------------------------------------------------------------------

    def _tell_redis(self) -> None:
        while self._for_redis:
            try:
                self._for_redis[0]()
            except (ConnectionError, TimeoutError, OSError):
                return
            except Exception as error:
                if is_wrong_type(error) and self._mended():
                    continue
                # a view that cannot be corrected must not keep the others from being so
                log.exception("Redis's view of the workers could not be corrected")
            del self._for_redis[0]

    def _mended(self) -> bool:
        with contextlib.suppress(RedisError, OSError):
            return bool(remove_wrong_types(self._queue))
        return False

    def _forget_worker(self, name: str) -> None:
        self._for_redis.append(AgentWorker(self._queue, name).bury)
        self._tell_redis()

    def _bury_strangers(self) -> None:
        names = registered_names(self._queue)
        for name in names[:_STRANGERS_MAX]:
            pid = pid_of(name)
            if pid is None or _parent_of(pid) != self._pool_pid:
                AgentWorker(self._queue, name).bury()
        if names[_STRANGERS_MAX:]:
            log.warning("Redis knew %d workers of this agent; nobody but somebody else puts so many there", len(names))
            forget_names(self._queue)

    def _renew(self, workers: list[dict[str, Any]]) -> None:
        for known in workers:
            born = datetime.fromtimestamp(known["born"], UTC)
            worker = AgentWorker(self._queue, known["name"], pid=known["pid"], born=born)
            worker.publish(busy=True, ttl=known["left_s"] + 120)

    def _show_end(self, key: str) -> None:
        row = self._journal.get(key)
        if row is None or row.result is None:
            return
        ended = Ended.of(row)

        def show() -> None:
            show_end(self._queue, key, ended)

        self._for_redis.append(show)
        self._tell_redis()


def _family(owner: ProcessIdentity) -> set[trees.Member]:
    return trees.family(owner.pid) if owner.alive() else set()


def _parent_of(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat[stat.rindex(b")") + 2 :].split()[1])
    return None
