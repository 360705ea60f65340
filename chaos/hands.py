"""The nemesis' hands: do a planned fault to a running world, and write down when and to whom."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from chaos.checker import Strike
from chaos.nemesis import PROGRAMS, Fault, Kind
from chaos.world import KeptAgent, World


class Hands:
    """Faults that last are ended by threads of their own; `heal` ends all of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.strikes: list[Strike] = []
        self.plane_starts_s: list[float] = []
        """How long the control plane took to answer again, each time."""
        self._lasting: list[threading.Thread] = []
        self._healing = threading.Event()

    def do(self, fault: Fault) -> Strike:
        """Strike now; a kill aims at what lives."""
        fault = self._aimed(fault)
        kept = self._world.agents[fault.agent]
        begun = kept.now_ms()
        hit = self._act(fault, kept)
        strike = Strike(begun, kept.now_ms(), fault.kind, kept.name, fault.program, tuple(hit))
        self.strikes.append(strike)
        return strike

    def heal(self) -> None:
        """End every fault that lasts; afterwards everything may run."""
        self._healing.set()
        for thread in self._lasting:
            thread.join(60)
        for kept in self._world.agents:
            kept.proxy.set(None)

    def _aimed(self, fault: Fault) -> Fault:
        """A kill whose target does not live just now befalls another one, on the next agent if need be."""
        if not fault.kind.startswith("kill_") or fault.kind == "kill_control_plane":
            return fault
        count = len(self._world.agents)
        for number in ((fault.agent + step) % count for step in range(count)):
            kept = self._world.agents[number]
            living = [name for name in kept.programs() if name in PROGRAMS]
            if fault.kind == "kill_program" and living and fault.program not in living:
                return replace(fault, agent=number, program=living[int(fault.pick * len(living))])
            if living and (fault.kind != "kill_worker" or kept.workers()):
                return replace(fault, agent=number)
        return fault

    def _act(self, fault: Fault, kept: KeptAgent) -> list[int]:
        acts: dict[Kind, Callable[[], list[int]]] = {
            "kill_worker": lambda: _signal(_picked(kept.workers(), fault.pick), signal.SIGKILL),
            "kill_program": lambda: _signal(_named(kept, fault.program), signal.SIGKILL),
            "kill_supervisor": lambda: _signal(_named(kept, "supervisor"), signal.SIGKILL),
            "kill_agent": lambda: _signal(kept.family(), signal.SIGKILL),
            "pause_worker": lambda: self._pause(_picked(kept.workers(), fault.pick), fault.hold),
            "pause_program": lambda: self._pause(_named(kept, fault.program), fault.hold),
            "toxic": lambda: self._poison(kept, fault),
            "partition": lambda: self._poison(kept, fault),
            "lose_redis_data": lambda: _lose_redis_data(kept),
            "kill_control_plane": lambda: self._kill_control_plane(fault.hold),
            "fill_disk": lambda: self._fill_disk(kept, fault.hold),
            "step_clock": lambda: self._step_clock(kept, fault.step),
            "suspend": lambda: self._suspend(kept, fault),
        }
        return acts[fault.kind]()

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        def wait_and_act() -> None:
            self._healing.wait(seconds)
            act()

        thread = threading.Thread(target=wait_and_act, name="healer", daemon=True)
        self._lasting.append(thread)
        thread.start()

    def _poison(self, kept: KeptAgent, fault: Fault) -> list[int]:
        if kept.proxy.toxic is not None:
            return []
        kept.proxy.set(fault.toxic)
        self._later(fault.hold, lambda: kept.proxy.set(None))
        return [kept.proxy.port]

    def _pause(self, processes: list[psutil.Process], seconds: float) -> list[int]:
        hit = _signal(processes, signal.SIGSTOP)
        if hit:
            self._later(seconds, lambda: _signal(processes, signal.SIGCONT))
        return hit

    def _step_clock(self, kept: KeptAgent, seconds: float) -> list[int]:
        """Somebody sets the clock of the agent's machine."""
        if kept.clock is None:
            return []
        kept.clock.step_wall(seconds)
        return _alive(kept)

    def _suspend(self, kept: KeptAgent, fault: Fault) -> list[int]:
        """Its machine stands still: nothing of it runs, and only its wall clock has gone on afterwards."""
        if kept.clock is None:
            return []
        processes = kept.family()
        hit = self._pause(processes, fault.hold)
        if hit:
            kept.clock.pause(fault.step)
        return hit

    def _kill_control_plane(self, seconds: float) -> list[int]:
        plane = self._world.control_plane
        if plane.process is None or not self._world.plane_lock.acquire(blocking=False):
            return []
        pid = plane.process.pid
        plane.stop(signal.SIGKILL)

        def start() -> None:
            began = time.monotonic()
            try:
                plane.start()
            finally:
                self._world.plane_lock.release()
            self.plane_starts_s.append(round(time.monotonic() - began, 1))

        self._later(seconds, start)
        return [pid]

    def _fill_disk(self, kept: KeptAgent, seconds: float) -> list[int]:
        if not kept.has_disk:
            return []
        ballast = kept.agent.state_dir / "ballast"
        # opening it fails, too, where an earlier ballast has left nothing
        with contextlib.suppress(OSError), ballast.open("ab") as file:
            piece = b"\0" * 65_536
            while True:
                file.write(piece)
                file.flush()
        self._later(seconds, lambda: ballast.unlink(missing_ok=True))
        return [kept.agent.state_dir.stat().st_dev]


def wait_until(moment: float, tend: Callable[[], None]) -> None:
    """Until `time.monotonic()` reaches `moment`, calling `tend` often."""
    while True:
        tend()
        left = moment - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.05))


def _alive(kept: KeptAgent) -> list[int]:
    return [process.pid for process in kept.programs().values()]


def _named(kept: KeptAgent, program: str) -> list[psutil.Process]:
    process = kept.programs().get(program)
    return [] if process is None else [process]


def _picked(processes: list[psutil.Process], pick: float) -> list[psutil.Process]:
    return [processes[int(pick * len(processes))]] if processes else []


def _signal(processes: list[psutil.Process], number: signal.Signals) -> list[int]:
    """`send_signal` asks for the process's start time first: a reused pid is never hit."""
    hit = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
            hit.append(process.pid)
    return hit


def _lose_redis_data(kept: KeptAgent) -> list[int]:
    hit = _signal(_named(kept, "redis"), signal.SIGKILL)
    _empty(kept.agent.state_dir / "redis")
    return hit


def _empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for item in folder.iterdir():
            if item.is_dir():
                shutil.rmtree(item, ignore_errors=True)
            else:
                item.unlink(missing_ok=True)
