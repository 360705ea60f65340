"""The protocol's rules; each one changed is a wrong variant, or the other class of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HAND_OUTS: Final = 2
"""Attempts of the job that are looked at: a second agent, or the same one again."""
WORKERS: Final = 2
DEATHS: Final = 2
"""Deaths of workers that make an idempotent job poison; three in the code, two show the same."""

LAZY: Final = frozenset({"hand out", "permit", "mark"})
"""The transactions that do not wait for the disk: `Database.write(durable=False)` in the dispatcher,
`Journal.acknowledge` and `Journal.mark_reported` (`wait_for_disk=False`)."""


@dataclass(frozen=True)
class Rules:
    """The protocol as it is."""

    idempotent: bool = False
    lazy: frozenset[str] = LAZY

    fence: bool = True
    """A worker starts a job only by the compare-and-set queued → started."""
    effect_after_fence: bool = True
    """False: the effect happens first, and the job is marked when it is over."""
    done_after_effect: bool = True
    """False: the success is written down when the effect begins."""
    done_before_report: bool = True
    """False: the result is sent first and written down when it has been sent."""
    deduplicates: bool = True
    """An agent knows the jobs it was given before."""
    waits_for_permit: bool = True
    """False: a job may start before its acknowledgement has been answered."""
    keeps_outbox: bool = True
    """False: a result leaves the outbox when it is sent, not when it is answered for."""
    reassigns_silent: bool = False
    """True: a job whose agent is silent goes to another though it was acknowledged."""
    tells_claims_apart: bool = True
    """False: a hand-out has no attempt number and no holder; whoever names the job speaks for it."""
    skips_forgotten_numbers: bool = True
    """False: the number of a hand-out that a power cut has undone is given again though an agent has named it."""
    cancels: bool = False
    """Operators cancel running jobs, too."""
    cancel_waits_for_result: bool = True
    """False: an acknowledged job is over when somebody asks to cancel it, and not when its agent says so."""
    faster_success_stands: bool = True
    """False: an order to cancel overwrites a success that is in the journal already."""
    cancelled_is_not_repeated: bool = True
    """False: what is to be cancelled is run again, by its agent or by another, because it may be repeated."""
    tries_another_agent: bool = True
    """What may be repeated and is lost, or given up, on one agent goes to another one."""
    repeats_only_idempotent: bool = True
    """False: so does what may not be repeated."""
    first_result_stands: bool = True
    """False: a result is recorded even where one stands already."""
