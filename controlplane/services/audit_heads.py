"""The witness of the agents' own records: where each one's chain ended, over time.

An agent says in every heartbeat with which entry its record ends (`AuditHead`). A hash stands for everything before it,
so each one kept here can be held against the record later (`easyalert-agent audit verify --witness`). What contradicts
what was seen before is a warning at the agent, and audited:

* `rewritten`: another hash at a number that was seen before;
* `cut`: the record ends before an entry that was seen (it was cut, or restored from a backup);
* `begun_anew`: the agent runs on another state directory than before, which has a record of its own. Told apart by the
  directory's own name (feature `instance`), whatever its record says.

An operator looks, and accepts; from there another chain counts. The warning does not keep jobs away.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent, AuditHead
from controlplane.services import audit
from controlplane.services.errors import ConflictError
from easyalert.protocol.messages import AuditHead as Said

GROWS: Final = "grows"
CUT: Final = "cut"
REWRITTEN: Final = "rewritten"
BEGUN_ANEW: Final = "begun_anew"
TAMPERING: Final = frozenset({CUT, REWRITTEN})
_GRAVITY: Final = (BEGUN_ANEW, CUT, REWRITTEN)

KEPT_EVERY_S: Final = 15.0
"""A head that only grows is kept no more often: so many a day are at most 5,760."""
_DAY_S: Final = 86_400.0
HOURLY_AFTER_S: Final = _DAY_S
DAILY_AFTER_S: Final = 31 * _DAY_S
KEPT_S: Final = 400 * _DAY_S
LIST_MAX: Final = 10_000
"""More than there ever are of one agent: a list that is downloaded is whole."""
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def witness(session: Session, now: float, agent: Agent, said: Said) -> None:
    """Take down where the agent's record ends, when that is news; warn of what cannot be."""
    if _HASH.fullmatch(said.hash) is None:
        return
    last = _last(session, agent.id)
    state = None if agent.instance is None else agent.instance.partition(".")[0]
    if last is None:
        _keep(session, now, agent.id, said, chain=1, state=state, verdict=GROWS)
        return
    verdict = _verdict(session, last, said, state)
    if verdict == GROWS:
        if (said.seq, said.hash) != (last.seq, last.hash) and abs(now - last.seen_at) >= KEPT_EVERY_S:
            _keep(session, now, agent.id, said, chain=last.chain, state=state or last.state, verdict=GROWS)
        return
    _warn(session, now, agent, said, last, verdict)
    if verdict == BEGUN_ANEW or last.verdict == GROWS or abs(now - last.seen_at) >= KEPT_EVERY_S:
        chain = last.chain + (verdict == BEGUN_ANEW)
        _keep(session, now, agent.id, said, chain=chain, state=state or last.state, verdict=verdict)


def accept(session: Session, now: float, agent: Agent, *, by: str, note: str | None) -> None:
    """A person has looked: the record as it is counts from here. `by`: id of their token. Raises ConflictError."""
    warning = agent.audit_warning
    if warning is None:
        raise ConflictError(
            f"there is no warning about the record of {agent.name}: nothing to accept", code="no_audit_warning"
        )
    last = _last(session, agent.id)
    if last is not None and warning["kind"] in TAMPERING:
        last.chain += 1
    audit.record(
        session, now, actor=audit.operator(session, by), action=audit.RECORD_ACCEPTED, target=agent.id,
        kind=warning["kind"], note=note, seq=None if last is None else last.seq,
    )  # fmt: skip
    agent.audit_warning = None


def thin(session: Session, now: float) -> None:
    """Of what is older than a day keep the last of each hour, than a month the last of each day, than a year nothing.

    Contradictions are kept to the end; the newest of each agent, for ever.
    """
    newest = select(func.max(AuditHead.id)).group_by(AuditHead.agent_id)
    session.execute(delete(AuditHead).where(AuditHead.seen_at < now - KEPT_S, AuditHead.id.not_in(newest)))
    for age_s, bucket in ((HOURLY_AFTER_S, AuditHead.hour), (DAILY_AFTER_S, AuditHead.hour // 24)):
        old = AuditHead.seen_at < now - age_s
        kept = select(func.max(AuditHead.id)).where(old).group_by(AuditHead.agent_id, AuditHead.chain, bucket)
        session.execute(delete(AuditHead).where(old, AuditHead.verdict == GROWS, AuditHead.id.not_in(kept)))


def forget(session: Session, agent_id: str) -> None:
    """The agent is deleted."""
    session.execute(delete(AuditHead).where(AuditHead.agent_id == agent_id))


def list_heads(session: Session, agent_id: str, *, before: int | None, limit: int) -> list[AuditHead]:
    """Newest first, beginning after the one numbered `before`."""
    query = select(AuditHead).where(AuditHead.agent_id == agent_id).order_by(AuditHead.id.desc()).limit(limit)
    return list(session.scalars(query if before is None else query.where(AuditHead.id < before)))


def view(row: AuditHead) -> dict[str, Any]:
    """A head as operators and `audit verify` see it."""
    return {
        "chain": row.chain,
        "seq": row.seq,
        "hash": row.hash,
        "seenAt": rfc3339(row.seen_at),
        "verdict": row.verdict,
    }


def warning(agent: Agent) -> dict[str, Any] | None:
    """`{"kind", "sentence", "at"}` as operators see it; None: all is well."""
    said = agent.audit_warning
    return None if said is None else {**said, "at": rfc3339(said["at"])}


def _verdict(session: Session, last: AuditHead, said: Said, state: str | None) -> str:
    if state is not None and last.state is not None and state != last.state:
        return BEGUN_ANEW
    other = select(AuditHead.id).where(
        AuditHead.agent_id == last.agent_id,
        AuditHead.chain == last.chain,
        AuditHead.seq == said.seq,
        AuditHead.hash != said.hash,
    )
    if session.scalar(other.limit(1)) is not None:
        # said again it is the record as it is by now, and known
        return GROWS if (said.seq, said.hash) == (last.seq, last.hash) else REWRITTEN
    return CUT if said.seq < last.seq else GROWS


def _warn(session: Session, now: float, agent: Agent, said: Said, last: AuditHead, kind: str) -> None:
    before = f"entry {last.seq}, seen {rfc3339(last.seen_at)}"
    sentence = {
        REWRITTEN: f"the agent's record was written anew: its entry {said.seq} is another one than was seen before",
        CUT: f"the agent's record ends with entry {said.seq}, before {before}: cut, or restored from a backup",
        BEGUN_ANEW: f"the agent runs on another state directory than before, with a record of its own ({before},"
        " was the end of the former one): it was installed anew or moved, or its state was deleted",
    }[kind]
    standing = agent.audit_warning
    if standing is not None and kind != BEGUN_ANEW and _GRAVITY.index(standing["kind"]) >= _GRAVITY.index(kind):
        return
    if standing is not None and standing["kind"] in TAMPERING and kind == BEGUN_ANEW:
        kept = standing  # the graver word stays until somebody has looked
    else:
        kept = {"kind": kind, "sentence": sentence, "at": now}
    agent.audit_warning = kept
    audit.record(
        session, now, actor=audit.agent(agent), action=f"agent.record_{kind}", target=agent.id,
        seq=said.seq, hash=said.hash, before={"seq": last.seq, "hash": last.hash, "seenAt": rfc3339(last.seen_at)},
    )  # fmt: skip


def _keep(
    session: Session, now: float, agent_id: str, said: Said, *, chain: int, state: str | None, verdict: str
) -> None:
    session.add(
        AuditHead(
            agent_id=agent_id,
            chain=chain,
            seq=said.seq,
            hash=said.hash,
            seen_at=now,
            hour=int(now // 3600),
            state=state,
            verdict=verdict,
        )
    )


def _last(session: Session, agent_id: str) -> AuditHead | None:
    query = select(AuditHead).where(AuditHead.agent_id == agent_id).order_by(AuditHead.id.desc()).limit(1)
    return session.scalar(query)
