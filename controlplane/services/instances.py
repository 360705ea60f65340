"""One key, one running agent: who holds a key, and what another one that comes with it is told (feature `instance`).

An agent names itself by a random id that lives in its state directory, and by a mark of the machine's boot and of that
very file: a cloned machine or a copied folder brings the id, not the mark. The holder is alive while its heartbeats
come and it has not said `offline`; until then nobody else gets jobs or permits under its key. A restart of the same
agent is the same instance; a reboot is not, and waits like anybody else. Agents that do not say who they are are
served as ever while nobody who does holds the key.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent
from controlplane.services import audit
from controlplane.services.errors import ConflictError, KeyInUseError
from easyalert.protocol.limits import OFFLINE_AFTER_S

_FORM: Final = re.compile(r"[A-Za-z0-9_-]{8,64}\.[A-Za-z0-9_-]{4,32}", re.ASCII)
_REFUSED_MAX: Final = 20
"""Others remembered per holder; more than a few are one mistake made many times."""
_SEEN_EVERY_S: Final = 60.0
"""How exactly it is kept when one of them came last."""


@dataclass(frozen=True)
class Holder:
    """Who holds a key, as read from the agent's row."""

    instance: str | None
    host: str | None
    since: float | None
    heard_at: float | None
    said_offline: bool

    @classmethod
    def of(cls, agent: Agent) -> Holder:
        """As the row says."""
        return cls(
            agent.instance, agent.instance_host, agent.instance_since, agent.last_heartbeat_at, agent.said_offline
        )

    def alive_until(self, up_since: float) -> float:
        """When the key is free unless the holder is heard of again. Nobody could be heard before `up_since`."""
        if self.instance is None or self.said_offline:
            return 0.0
        return max(self.heard_at or 0.0, up_since) + OFFLINE_AFTER_S


NOBODY: Final = Holder(None, None, None, None, said_offline=False)


def spoken(text: str | None) -> str | None:
    """An instance as an agent names it; None for what is none."""
    return text if text is not None and _FORM.fullmatch(text) is not None else None


def same_state(one: str | None, other: str | None) -> bool:
    """Whether both come from one state directory (or from copies of it)."""
    return one is not None and other is not None and one.partition(".")[0] == other.partition(".")[0]


def why_not(holder: Holder, instance: str | None, now: float, up_since: float) -> ConflictError | None:
    """Why a request of `instance` cannot be granted under the holder's key, or None."""
    if holder.instance is None or instance == holder.instance:
        return None
    if now < (until := holder.alive_until(up_since)):
        return _in_use(holder, instance, until - now)
    if instance is None:
        return None
    return ConflictError(
        "this agent has not registered since another one held its key: register first", code="not_registered"
    )


def claim(session: Session, now: float, agent: Agent, instance: str | None, host: str, up_since: float) -> None:
    """The agent registers: it holds the key from here. Raises ConflictError, after `refused` has to be called."""
    holder = Holder.of(agent)
    if instance == holder.instance:
        return
    if holder.instance is not None and now < (until := holder.alive_until(up_since)):
        raise _in_use(holder, instance, until - now)
    if holder.instance is not None and not same_state(holder.instance, instance):
        audit.record(
            session, now, actor=audit.agent(agent), action=audit.KEY_TAKEN_OVER, target=agent.id,
            host=host, instance=short(instance), fromHost=holder.host, fromInstance=short(holder.instance),
        )  # fmt: skip
    agent.instance, agent.instance_host = instance, host if instance is not None else None
    agent.instance_since = now if instance is not None else None
    agent.refused = None


def note_refusal(session: Session, now: float, agent_id: str, instance: str | None, host: str | None) -> bool:
    """Remember that somebody was refused; True, and audited, the first time under this holder."""
    agent = session.get(Agent, agent_id)
    if agent is None or agent.instance is None:
        return False
    name, known = instance or "unnamed", dict(agent.refused or {})
    before = known.get(name)
    if before is None and len(known) >= _REFUSED_MAX:
        return False
    if before is None or now - before["lastAt"] >= _SEEN_EVERY_S or (host and not before["host"]):
        first = now if before is None else before["firstAt"]
        known[name] = {"host": host or (before or {}).get("host"), "firstAt": first, "lastAt": now}
        agent.refused = known
    if before is None:
        audit.record(
            session, now, actor=audit.agent(agent), action=audit.KEY_REFUSED, target=agent.id,
            host=host, instance=short(instance), holderHost=agent.instance_host, holder=short(agent.instance),
        )  # fmt: skip
    return before is None


def view(agent: Agent) -> dict[str, object] | None:
    """Who holds the key and who else has come with it, as operators see it."""
    if agent.instance is None:
        return None
    others = [
        {"host": other["host"], "firstAt": rfc3339(other["firstAt"]), "lastAt": rfc3339(other["lastAt"])}
        for other in (agent.refused or {}).values()
    ]
    return {
        "instance": short(agent.instance),
        "host": agent.instance_host,
        "since": rfc3339(agent.instance_since),
        "refusedOthers": others,
    }


def short(instance: str | None) -> str | None:
    """Enough of the name to tell two apart: the beginnings of id and mark."""
    if instance is None:
        return None
    state, _, mark = instance.partition(".")
    return f"{state[:8]}.{mark[:4]}"


def _in_use(holder: Holder, instance: str | None, left_s: float) -> KeyInUseError:
    copy = " and has a copy of the same state directory" if same_state(instance, holder.instance) else ""
    # no figure that changes from one request to the next: the agent logs a sentence once
    since = rfc3339(holder.since)
    return KeyInUseError(
        f"this agent key is in use by another agent: host '{holder.host}' holds it since {since}{copy}. "
        "No jobs go to a second one. Give each agent a key of its own: easyalert-controlplane agents create NAME; "
        f"or stop the other one (one that has died is forgotten after {OFFLINE_AFTER_S} s)",
        retry_after=math.ceil(left_s),
    )
