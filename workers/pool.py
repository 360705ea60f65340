"""The parent of the workers: forks them on demand, keeps the cap and the deadlines, ends what is stuck, stops in order.

It loads everything once and runs no thread, no SQLite and no Redis connection, so that a fork is cheap and safe. What
it waits for: signals, words on the lifelines, the next deadline.

Stop order (SIGTERM or SIGINT): every worker is told to stop, so no new job starts from that moment; running jobs get
`shutdown_grace_seconds`; what is then left is cut off: the worker first, so that it cannot record the end of its job's
processes as the job's own failure, then the processes; then the bookkeeper settles those rows. When the launcher
(supervisord) itself is gone there is no grace: nobody would restart what outlives it. More signals change nothing.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

from easyalert import file_pages
from easyalert.hardening import become_subreaper
from easyalert.runtime import EXIT_FAILURE, EXIT_OK, Backoff
from workers import trees
from workers.bookkeeper import bookkeeper_main
from workers.child import child_main
from workers.forked import Forked
from workers.lifeline import Lifeline
from workers.toolbox import Toolbox
from workers.worker import worker_name

log = logging.getLogger(__name__)

WARM_MIN: Final = 1
"""Idle workers kept ready for the next job. Each holds up to 17 MB, and another is forked in some 20 ms."""
IDLE_RETIRE_S: Final = 10.0
"""A worker more than these is retired after the pool has had it idle for this long."""
_NEXT_HALF: Final = 0.1
"""Of that time: how long those that are left are watched before the next half of them goes."""
CANCEL_MARGIN_S: Final = 1.0
"""What the worker of a cancelled job gets beyond the job's grace; then it hangs, and is killed."""
_RENEW_S: Final = 15.0
_TERM_GRACE_S: Final = 1.0
_READY_WITHIN_S: Final = 30.0
_OPEN_ATTEMPTS: Final = 3
_FINISH_WITHIN_S: Final = 5.0
_QUICK_DEATH_S: Final = 2.0
_LOOK_S: Final = 2.0


class Pool:
    """Run it with `run`, in a process that has no threads."""

    def __init__(
        self, tools: Toolbox, launcher: int, *, warm: int = WARM_MIN, idle_retire_s: float = IDLE_RETIRE_S
    ) -> None:
        """`launcher`: the process that started this one, as seen at its very start."""
        self._tools = tools
        self._launcher = launcher
        self._cap = tools.settings.max_concurrent_jobs
        self._warm = min(warm, self._cap)
        self._idle_retire_s = idle_retire_s
        self._workers: dict[int, Forked] = {}
        self._bookkeeper: Forked | None = None
        self._watch = selectors.DefaultSelector()
        self._signals, self._signal_end = socket.socketpair()
        self._draining_until: float | None = None
        self._fork_after = 0.0
        self._pause = Backoff(first=0.5, cap=10.0)
        self._bookkeeper_after: float | None = None
        """Set while there is no bookkeeper: when to make the next."""
        self._bookkeeper_pause = Backoff(first=0.1, cap=5.0)
        self._crowded_since: float | None = None
        self._renew_at = time.monotonic() + _RENEW_S

    # ---- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until a signal has ended it. Returns the exit code."""
        become_subreaper()
        self._catch_signals()
        gc.collect()
        gc.freeze()
        file_pages.let_go()
        if not self._open_books():
            return EXIT_FAILURE
        log.info("up to %d jobs at once", self._cap)
        while True:
            self._reap()
            self._replace_bookkeeper()
            if self._draining_until is None:
                self._fill()
                self._retire()
            elif not self._workers or time.monotonic() >= self._draining_until:
                break
            self._enforce_deadlines()
            self._renew()
            self._hear(self._wait())
        self._cut_off()
        self._close_books()
        log.info("stopped")
        return EXIT_OK

    def _catch_signals(self) -> None:
        for end in (self._signals, self._signal_end):
            end.setblocking(False)  # noqa: FBT003 - the standard library's signature
        signal.set_wakeup_fd(self._signal_end.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # the byte on the socket is what is looked at
        self._watch.register(self._signals, selectors.EVENT_READ)

    def _wait(self) -> float:
        """Seconds until something is due without anybody saying so."""
        now = time.monotonic()
        due = [now + _LOOK_S, self._renew_at]
        due += [worker.kill_at for worker in self._workers.values() if worker.kill_at is not None]
        if self._bookkeeper_after is not None:
            due.append(self._bookkeeper_after)
        if self._draining_until is not None:
            due.append(self._draining_until)
        elif self._fork_after > now:
            due.append(self._fork_after)
        return max(0.0, min(due) - now)

    def _hear(self, seconds: float) -> None:
        for key, _ in self._watch.select(seconds):
            if key.fileobj is self._signals:
                self._obey_signals()
            else:
                self._listen(key.data)
        if os.getppid() != self._launcher and self._draining_until is None:
            self._drain("the process that started this pool is gone", 0.0)

    def _obey_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            received = set(self._signals.recv(4096))
            stop = received & {signal.SIGTERM, signal.SIGINT}
            if stop and self._draining_until is None:
                orphaned = os.getppid() != self._launcher
                grace = 0.0 if orphaned else float(self._tools.settings.shutdown_grace_seconds)
                self._drain(signal.Signals(min(stop)).name, grace)

    def _listen(self, process: Forked) -> None:
        try:
            heard = process.lifeline.hear()
        except EOFError:
            with contextlib.suppress(KeyError):  # it is ending; SIGCHLD says the rest
                self._watch.unregister(process.lifeline)
            return
        for message in heard:
            match message["word"]:
                case "busy":
                    process.key, process.deadline, process.cancel_until = message["key"], None, None
                case "running":
                    process.key, process.deadline = message["key"], message["deadline"]
                    process.limit_s = max(1, round(message["deadline"] - time.monotonic()))
                case "recording":
                    process.deadline = process.cancel_until = None
                case "idle":
                    process.key, process.deadline, process.cancel_until = None, None, None
                    process.idle_since = time.monotonic()
                case "cancel":  # the bookkeeper has found a request in the journal, and says so until the job ends
                    self._cancel(message["key"], message["by"])
                case _:
                    pass

    # ---- forking and retiring ---------------------------------------------------------------------------------------

    def _fork(self, slot: int, live: Callable[[Lifeline], NoReturn]) -> Forked:
        mine, theirs = Lifeline.pair()
        pid = os.fork()
        if pid == 0:
            self._let_go(mine)
            live(theirs)
        theirs.close()
        name = worker_name(self._tools.settings.agent_name, slot, pid)
        process = Forked(pid, slot, name, mine, time.monotonic(), time.time())
        self._watch.register(mine, selectors.EVENT_READ, process)
        return process

    def _let_go(self, mine: Lifeline) -> None:
        """In the forked process: a parent's end that stayed open here would keep the end of file from coming."""
        self._watch.close()
        for end in (self._signals, self._signal_end):
            end.close()
        mine.close()
        for process in (*self._workers.values(), *([self._bookkeeper] if self._bookkeeper else [])):
            process.lifeline.close()

    def _fill(self) -> None:
        """Fork until enough idle workers wait, never beyond the cap."""
        now = time.monotonic()
        while len(self._workers) < self._cap and now >= self._fork_after:
            if sum(worker.idle for worker in self._workers.values()) >= self._warm:
                return
            slot = min(set(range(1, self._cap + 1)) - {worker.slot for worker in self._workers.values()})
            worker = self._fork(slot, partial(child_main, self._tools, slot))
            self._workers[worker.pid] = worker

    def _retire(self) -> None:
        """Half of those too many at a time: 50 that a burst has left are one within 15 s."""
        idle = [worker for worker in self._workers.values() if worker.idle]
        now = time.monotonic()
        surplus = len(idle) - self._warm
        if surplus <= 0:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = now
        elif now - self._crowded_since >= self._idle_retire_s:
            # those that came last: Redis serves those first that have waited longest
            idle.sort(key=lambda worker: worker.idle_since)
            for worker in idle[-((surplus + 1) // 2) :]:
                self._tell_to_stop(worker)
            self._crowded_since = now - self._idle_retire_s * (1 - _NEXT_HALF)

    def _tell_to_stop(self, worker: Forked) -> None:
        worker.stopping = True
        worker.lifeline.say("stop")

    # ---- deaths and deadlines ---------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Collect the dead. Whatever a dead worker's job has left is ours now, and is ended before anything else."""
        died = []
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitpid(-1, os.WNOHANG))[0] != 0:
                died.append(dead)
        for pid, status in died:
            if self._bookkeeper is not None and pid == self._bookkeeper.pid:
                self._miss_bookkeeper(self._bookkeeper)
            elif pid in self._workers:
                self._buried(self._workers[pid], status)

    def _buried(self, worker: Forked, status: int) -> None:
        with contextlib.suppress(EOFError):
            self._listen(worker)  # what it said last
        code = os.waitstatus_to_exitcode(status)
        self._let_die(worker)
        if code != 0:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            log.warning("worker %s died (%s)%s", worker.name, how, f" during job {worker.key}" if worker.key else "")
            if worker.key is None and time.monotonic() - worker.forked_at < _QUICK_DEATH_S:
                self._fork_after = time.monotonic() + self._pause.next()
            else:
                self._pause.reset()
        if code != 0 or worker.key is not None:
            self._tell("died", name=worker.name, key=worker.key)

    def _let_die(self, worker: Forked) -> None:
        """Forget a reaped worker and end all it has left."""
        with contextlib.suppress(KeyError, ValueError):
            self._watch.unregister(worker.lifeline)
        worker.lifeline.close()
        del self._workers[worker.pid]
        self._tools.confinement.end_of(worker.pid)
        trees.kill_all(self._orphans)

    def _orphans(self) -> set[trees.Member]:
        known = [*self._workers, *([self._bookkeeper.pid] if self._bookkeeper else [])]
        return trees.orphans(known)

    def _cancel(self, key: str, by: str) -> None:
        for worker in list(self._workers.values()):
            self._listen(worker)  # it may have said only now that it has the job
            if worker.key == key and worker.cancel_until is None:
                grace = float(self._tools.settings.cancel_grace_seconds)
                worker.cancel_until = time.monotonic() + grace + CANCEL_MARGIN_S
                worker.lifeline.say("cancel", key=key, by=by)

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        late = [worker for worker in self._workers.values() if worker.kill_at is not None and now >= worker.kill_at]
        for worker in late:
            what = "cancellation" if worker.cancel_until is not None else "deadline"
            log.warning("worker %s does not react to its job's %s and is killed", worker.name, what)
            self._kill(worker)
            self._let_die(worker)
            if worker.cancel_until is not None:  # the row says that it was to be cancelled
                self._tell("died", name=worker.name, key=worker.key)
            else:
                self._tell("overshot", name=worker.name, key=worker.key, seconds=worker.limit_s)

    def _kill(self, worker: Forked) -> None:
        os.kill(worker.pid, signal.SIGKILL)  # our own child, not reaped yet: the pid cannot mean another process
        with contextlib.suppress(ChildProcessError):
            os.waitpid(worker.pid, 0)

    # ---- the bookkeeper ---------------------------------------------------------------------------------------------

    def _open_books(self) -> bool:
        """Fork the bookkeeper and let it settle the past; only then may workers exist. False: it cannot."""
        for _ in range(_OPEN_ATTEMPTS):
            bookkeeper = self._fork_bookkeeper(first=True)
            with selectors.DefaultSelector() as watch:
                watch.register(bookkeeper.lifeline, selectors.EVENT_READ)
                with contextlib.suppress(EOFError):
                    if watch.select(_READY_WITHIN_S) and bookkeeper.lifeline.hear():
                        self._bookkeeper = bookkeeper
                        return True
            self._kill(bookkeeper)
            self._watch.unregister(bookkeeper.lifeline)
            bookkeeper.lifeline.close()
        log.error("the workers cannot start: what an earlier run has left could not be settled")
        return False

    def _fork_bookkeeper(self, *, first: bool) -> Forked:
        pool_pid = os.getpid()
        return self._fork(0, lambda lifeline: bookkeeper_main(self._tools, lifeline, pool_pid, first=first))

    def _miss_bookkeeper(self, dead: Forked) -> None:
        """It died. What it has not been told meanwhile, the next one finds by itself."""
        with contextlib.suppress(KeyError, ValueError):
            self._watch.unregister(dead.lifeline)
        dead.lifeline.close()
        self._bookkeeper = None
        if time.monotonic() - dead.forked_at > _RENEW_S:
            self._bookkeeper_pause.reset()
        self._bookkeeper_after = time.monotonic() + self._bookkeeper_pause.next()

    def _replace_bookkeeper(self) -> None:
        if self._bookkeeper_after is not None and time.monotonic() >= self._bookkeeper_after:
            log.warning("the bookkeeper died; another takes over")
            self._bookkeeper_after = None
            self._bookkeeper = self._fork_bookkeeper(first=False)

    def _tell(self, word: str, **fields: object) -> None:
        if self._bookkeeper is not None:
            self._bookkeeper.lifeline.say(word, **fields)

    def _renew(self) -> None:
        """A busy worker cannot renew its registration in Redis; the idle ones do it themselves."""
        now = time.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + _RENEW_S
        busy = [
            {"name": w.name, "pid": w.pid, "born": w.born, "left_s": int((w.deadline or now) - now)}
            for w in self._workers.values()
            if w.key is not None
        ]
        if busy:
            self._tell("alive", workers=busy)

    def _close_books(self) -> None:
        if self._bookkeeper is None:
            return
        self._tell("finish")
        until = time.monotonic() + _FINISH_WITHIN_S
        while time.monotonic() < until:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._bookkeeper.pid, os.WNOHANG)[0] == 0:
                    self._watch.select(0.05)
                    continue
            return
        log.error("the bookkeeper did not finish in time; the next start settles the rest")
        self._kill(self._bookkeeper)

    # ---- stopping ---------------------------------------------------------------------------------------------------

    def _drain(self, reason: str, grace_s: float) -> None:
        for worker in self._workers.values():
            self._tell_to_stop(worker)
        self._draining_until = time.monotonic() + grace_s
        running = sum(worker.key is not None for worker in self._workers.values())
        log.info("%s: stopping; %d running jobs have %d seconds", reason, running, grace_s)

    def _cut_off(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            self._kill(worker)
        if os.getppid() == self._launcher:
            # one grace for all of them: five jobs that ignore SIGTERM must not take five
            trees.ask_all(self._orphans, grace_s=_TERM_GRACE_S)
        for worker in workers:
            self._let_die(worker)
            self._tell("died", name=worker.name, key=worker.key)
