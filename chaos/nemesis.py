"""The schedule of faults: made from a seed alone, so that the same seed gives the same faults at the same moments.

Faults that name a process by number (`pick`) choose among those that live then; everything else is fixed here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from chaos.proxy import TOXICS, Toxic

Kind = Literal[
    "kill_program", "kill_worker", "kill_supervisor", "kill_agent", "kill_control_plane", "pause_program",
    "pause_worker", "toxic", "partition", "lose_redis_data", "fill_disk", "step_clock", "suspend",
]  # fmt: skip
Mix = Literal["all", "kills"]
"""`kills`: nothing but SIGKILL, of one process or of a whole agent, without a moment's quiet."""
PROGRAMS: Final = ("poller", "workers", "heartbeat", "admin", "redis")

_BURST_S: Final = (2.0, 5.0)
_QUIET_S: Final = (3.0, 6.0)
_GAP_S: Final = (0.1, 0.5)
_FIRST_S: Final = 4.0
"""The agents start and take their first jobs undisturbed."""
_WEIGHTS: Final[dict[Kind, int]] = {
    "kill_worker": 30,
    "kill_program": 24,
    "toxic": 14,
    "pause_worker": 6,
    "pause_program": 6,
    "kill_agent": 6,
    "lose_redis_data": 5,
    "kill_supervisor": 4,
    "kill_control_plane": 3,
    "fill_disk": 2,
    "step_clock": 3,
    "suspend": 2,
    "partition": 1,
}
_KILLS: Final[dict[Kind, int]] = {"kill_worker": 40, "kill_program": 45, "kill_supervisor": 5, "kill_agent": 10}
_HOLD_S: Final[dict[Kind, tuple[float, float]]] = {
    "pause_worker": (0.3, 3.0),
    "pause_program": (0.3, 3.0),
    "toxic": (0.5, 4.0),
    "partition": (5.0, 75.0),
    "kill_control_plane": (0.2, 2.0),
    "fill_disk": (2.0, 5.0),
    "suspend": (0.5, 3.0),
}
"""How long a fault lasts, seconds; the others are over at once."""
_STEP_S: Final = 3_600.0
_SUSPENDED_S: Final = 120.0
"""Well below the start deadline of a job (15 min), which goes on meanwhile."""


@dataclass(frozen=True)
class Fault:
    """One act of the nemesis."""

    at: float
    """Seconds from the beginning of the run."""
    kind: Kind
    agent: int
    """Which agent it befalls."""
    hold: float = 0.0
    program: str = ""
    pick: float = 0.0
    """Which of the processes that live then: 0 the first, just below 1 the last."""
    toxic: Toxic | None = None
    step: float = 0.0
    """Seconds the agent's wall clock is set by (`step_clock`), or goes on by while nothing runs (`suspend`)."""


def plan(seed: int, seconds: float, *, agents: int = 1, mix: Mix = "all", without: Iterable[Kind] = ()) -> list[Fault]:
    """The faults of a run of that many seconds, in order: bursts of one every 0.1 to 0.5 s, with quiet between.

    The quiet lets lasting faults end and agents come up; with `kills` there is none, the burst lasts the whole run.
    """
    dice = random.Random(seed)
    faults: list[Fault] = []
    left_out = set(without)
    now = _FIRST_S
    while now < seconds:
        burst_end = seconds if mix == "kills" else now + dice.uniform(*_BURST_S)
        while now < min(burst_end, seconds):
            fault = _one(dice, now, agents, _KILLS if mix == "kills" else _WEIGHTS)
            if fault.kind not in left_out:
                faults.append(fault)
            now += dice.uniform(*_GAP_S)
        now += dice.uniform(*_QUIET_S)
    return faults


def _one(dice: random.Random, now: float, agents: int, weights: dict[Kind, int]) -> Fault:
    kind = dice.choices(list(weights), list(weights.values()))[0]
    # drawn always, used or not: leaving a kind of fault out must not change the others
    agent, program, pick = dice.randrange(agents), dice.choice(PROGRAMS), dice.random()
    toxic_kind, strength, length = dice.choice(TOXICS), dice.random(), dice.random()
    shortest, longest = _HOLD_S.get(kind, (0.0, 0.0))
    value = {"latency": 0.05 + strength, "bandwidth": 2_000 + 20_000 * strength}.get(toxic_kind, 0.0)
    return Fault(
        at=round(now, 3),
        kind=kind,
        agent=agent,
        hold=round(shortest + (longest - shortest) * length, 3),
        program=program if kind in {"kill_program", "pause_program"} else "",
        pick=round(pick, 6),
        toxic=_network(kind, Toxic(toxic_kind, round(value, 3))),
        step=_step(kind, strength),
    )


def _step(kind: Kind, strength: float) -> float:
    return {"step_clock": round((2 * strength - 1) * _STEP_S), "suspend": round(strength * _SUSPENDED_S)}.get(kind, 0.0)


def _network(kind: Kind, drawn: Toxic) -> Toxic | None:
    return drawn if kind == "toxic" else Toxic("black_hole") if kind == "partition" else None
