"""Wrong variants of the protocol, and the promise that each of them breaks."""

from __future__ import annotations

from tests.model import promises
from tests.model.rules import LAZY, Rules

WRONG = {
    "no start fence": (Rules(fence=False), promises.AT_MOST_ONE_START),
    "effect before the fence": (Rules(effect_after_fence=False), promises.AT_MOST_ONE_START),
    "done before the effect": (Rules(done_after_effect=False), promises.TRUE_SUCCESS),
    "done after the report": (Rules(done_before_report=False, idempotent=True), promises.NO_START_AFTER_END),
    "started jobs are reassigned": (Rules(reassigns_silent=True), promises.AT_MOST_ONE_START),
    "no de-duplication": (Rules(deduplicates=False), promises.AT_MOST_ONE_START),
    "outbox cleared before the answer": (Rules(keeps_outbox=False), promises.ANSWERED),
    "start before the permit": (Rules(waits_for_permit=False), promises.NO_START_AFTER_END),
    "claims without attempt numbers": (Rules(tells_claims_apart=False), promises.AT_MOST_ONE_START),
    "a forgotten number is given again": (Rules(skips_forgotten_numbers=False), promises.ANSWERED),
    "the last result counts": (Rules(first_result_stands=False), promises.ONE_RESULT),
    "what must not be repeated is given to another": (Rules(repeats_only_idempotent=False), promises.AT_MOST_ONE_START),
    "a cancelled job is over when it is asked for": (
        Rules(cancels=True, cancel_waits_for_result=False),
        promises.NO_START_AFTER_END,
    ),
    "a cancel overwrites a success": (Rules(cancels=True, faster_success_stands=False), promises.FASTER_SUCCESS),
    "what is to be cancelled is run again": (
        Rules(cancels=True, idempotent=True, cancelled_is_not_repeated=False),
        promises.CANCEL_HOLDS,
    ),
    "take does not wait for the disk": (Rules(lazy=LAZY | {"take"}), promises.ANSWERED),
    "start does not wait for the disk": (Rules(lazy=LAZY | {"start"}), promises.AT_MOST_ONE_START),
    "finish does not wait for the disk": (Rules(lazy=LAZY | {"finish"}), promises.HONEST_DOUBT),
    "the server's acknowledgement does not wait": (Rules(lazy=LAZY | {"acknowledgement"}), promises.ANSWERED),
    "the server's result does not wait": (Rules(lazy=LAZY | {"result"}), promises.ANSWERED),
}
