"""What the control plane says in its answers to heartbeats, as the note `control` for the poller and for people.

`{"disabled": {"reason", "until"} | null, "drain": the same, "pollIntervalSeconds": n | null, "cancelJobs": [{"jobId",
"attempt"}]}`; `until` is epoch seconds of this machine's clock, made anew from the time left at each answer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from easyalert.journal.pause import Pause, moment
from easyalert.protocol import features
from easyalert.protocol.messages import Block, OrdersData


def control_note(answer: Any, spoken: Collection[str], now: float, before: Any) -> dict[str, Any] | None:
    """The note after this answer; None: none, for nothing of this is spoken. `before` stays for what is no answer."""
    heard = {features.CANCEL, features.CONTROL} & set(spoken)
    if not heard:
        return None
    try:
        said = OrdersData.model_validate(answer)
    except ValidationError:
        return before if isinstance(before, dict) else None
    note: dict[str, Any] = {}
    if features.CONTROL in heard:
        note |= {"disabled": _block(said.disabled, now), "drain": _block(said.drain, now)}
        note["pollIntervalSeconds"] = said.poll_interval_seconds
    if features.CANCEL in heard:
        note["cancelJobs"] = [item.wire() for item in said.cancel_jobs]
    return note


def ordered(before: Any, note: dict[str, Any] | None) -> tuple[str, dict[str, Any]] | None:
    """The audit entry for what has changed: None where the same is said, or said again for a longer time."""

    def said(of: Any) -> dict[str, Any]:
        blocks = {name: of.get(name) if isinstance(of, dict) else None for name in ("disabled", "drain")}
        return {name: block.get("reason") or True for name, block in blocks.items() if isinstance(block, dict)}

    return None if said(before) == said(note) else ("agent.ordered", {"by": "the control plane", "blocked": said(note)})


def told_of(pause: Pause | None, now: float) -> Block | None:
    """A pause made here, as the heartbeat says it."""
    if pause is None:
        return None
    if pause.until is None:
        return Block(reason=pause.reason)
    return Block(reason=pause.reason, until=moment(pause.until), remaining_seconds=round(pause.until - now, 3))


def _block(said: Block | None, now: float) -> dict[str, Any] | None:
    if said is None:
        return None
    left = said.remaining_seconds
    return {"reason": said.reason, "until": None if left is None else round(now + left)}
