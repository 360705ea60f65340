"""All tables. Times are seconds since the epoch, UTC. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from controlplane.models.columns import JsonText


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can name them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


Time = Double
"""Seconds since the epoch: eight bytes everywhere, microseconds exact until the year 2100."""


class Pool(Base):
    """A group of agents that can stand in for one another. Pools exist by use (contract 7.2)."""

    __tablename__ = "pools"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    created_at: Mapped[float] = mapped_column(Time)
    max_queue_age_s: Mapped[int] = mapped_column(Integer)
    """A job nobody took for this long is expired."""
    lost_after_s: Mapped[int] = mapped_column(Integer)
    """A job an agent holds is in doubt after this much silence."""


class Agent(Base):
    """An agent: what operators set, what it said when it registered, and its last heartbeat."""

    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    description: Mapped[str] = mapped_column(Text, default="")
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id"), index=True)
    tags: Mapped[list[str]] = mapped_column(JsonText)
    created_at: Mapped[float] = mapped_column(Time)
    key_version: Mapped[int] = mapped_column(Integer, default=1)

    disabled: Mapped[bool] = mapped_column(default=False)
    disabled_reason: Mapped[str | None] = mapped_column(Text, default=None)
    disabled_until: Mapped[float | None] = mapped_column(Time, default=None)
    draining: Mapped[bool] = mapped_column(default=False)
    draining_reason: Mapped[str | None] = mapped_column(Text, default=None)
    draining_until: Mapped[float | None] = mapped_column(Time, default=None)

    registered_at: Mapped[float | None] = mapped_column(Time, default=None)
    hostname: Mapped[str | None] = mapped_column(Text, default=None)
    agent_name: Mapped[str | None] = mapped_column(Text, default=None)
    version: Mapped[str | None] = mapped_column(Text, default=None)
    platform: Mapped[str | None] = mapped_column(Text, default=None)
    architecture: Mapped[str | None] = mapped_column(Text, default=None)
    capabilities: Mapped[list[str] | None] = mapped_column(JsonText, default=None)
    max_concurrent_jobs: Mapped[int | None] = mapped_column(Integer, default=None)
    public_key: Mapped[str | None] = mapped_column(Text, default=None)
    features: Mapped[list[str]] = mapped_column(JsonText, default=list)
    """Extensions both sides have; empty for an agent that knows only the base protocol."""

    last_heartbeat_at: Mapped[float | None] = mapped_column(Time, default=None)
    said_offline: Mapped[bool] = mapped_column(default=False)
    heartbeat: Mapped[dict[str, Any] | None] = mapped_column(JsonText, default=None)
    """The last heartbeat as it came, without identity: for people; rules read only `components` and `paused` in it."""
    last_dispatch_at: Mapped[float] = mapped_column(Time, default=0.0)

    instance: Mapped[str | None] = mapped_column(String(100), default=None)
    """Which running agent holds the key (feature instance); None: one that does not say."""
    instance_host: Mapped[str | None] = mapped_column(Text, default=None)
    instance_since: Mapped[float | None] = mapped_column(Time, default=None)
    refused: Mapped[dict[str, Any] | None] = mapped_column(JsonText, default=None)
    """Other agents that came with the key since then: instance → `{"host", "firstAt", "lastAt"}`."""
    repeatable: Mapped[list[str] | None] = mapped_column(JsonText, default=None)
    """Actions that its executors declare as harmless to repeat, whatever their parameters."""
    audit_warning: Mapped[dict[str, Any] | None] = mapped_column(JsonText, default=None)
    """What is wrong with its own record, `{"kind", "sentence", "at"}`, until an operator has accepted it."""


class AgentKey(Base):
    """One key of an agent. During a rotation with overlap there are two."""

    __tablename__ = "agent_keys"

    prefix: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The public look-up part of the key."""
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), index=True)
    hash: Mapped[str] = mapped_column(String(80))
    """bcrypt of the whole key."""
    created_at: Mapped[float] = mapped_column(Time)
    expires_at: Mapped[float | None] = mapped_column(Time, default=None)


class OperatorToken(Base):
    """A bearer token of a person or a tool."""

    __tablename__ = "operator_tokens"
    __table_args__ = (UniqueConstraint("token_hash"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    scope: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256: the token is 256 random bits, nothing a slow hash would protect."""
    created_at: Mapped[float] = mapped_column(Time)


class Job(Base):
    """One job as it was asked for, and where it stands. What happened to each hand-out is in `attempts`."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("idempotency_key"),
        Index("ix_jobs_state_pool", "state", "pool_id"),
        Index("ix_jobs_state_target", "state", "target_agent_id"),
        Index("ix_jobs_agent_cancel", "agent_id", "cancel_requested_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    action_type: Mapped[str] = mapped_column(String(128))
    category: Mapped[str] = mapped_column(String(128))
    connection_id: Mapped[str | None] = mapped_column(String(256), default=None)
    params: Mapped[dict[str, Any]] = mapped_column(JsonText)
    pool_id: Mapped[str | None] = mapped_column(ForeignKey("pools.id"), default=None)
    """The pool it goes to; None when it is for one agent only."""
    target_agent_id: Mapped[str | None] = mapped_column(String(40), default=None)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    timeout_s: Mapped[int] = mapped_column(Integer)
    idempotent: Mapped[bool | None] = mapped_column(default=None)
    idempotency_key: Mapped[str | None] = mapped_column(String(256), default=None)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """Digest of the request without secrets: a repeated idempotency key must mean the same job."""
    created_at: Mapped[float] = mapped_column(Time, index=True)
    created_by: Mapped[str] = mapped_column(String(40))

    state: Mapped[str] = mapped_column(String(16))
    state_reason: Mapped[str | None] = mapped_column(Text, default=None)
    """A sentence where the state alone does not explain itself."""
    available_at: Mapped[float] = mapped_column(Time)
    """Since when it may be taken: creation, or its last return to `pending`."""
    expires_at: Mapped[float] = mapped_column(Time)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    """Number of the last hand-out, 0 before the first."""
    agent_id: Mapped[str | None] = mapped_column(String(40), default=None, index=True)
    """Who has, or had, the last attempt. No foreign key: the agent may be deleted, its history stays."""
    finished_at: Mapped[float | None] = mapped_column(Time, default=None)
    credentials_wiped: Mapped[bool] = mapped_column(default=False)
    cancel_requested_at: Mapped[float | None] = mapped_column(Time, default=None)
    cancel_requested_by: Mapped[str | None] = mapped_column(String(200), default=None)
    """Name and id of the token."""
    retries: Mapped[int] = mapped_column(Integer, default=0)
    """How often it was given to another agent because what became of it on one could not be told."""
    signature: Mapped[dict[str, Any] | None] = mapped_column(JsonText, default=None)
    """As it was sent with the job (feature signed); handed on untouched."""


class Attempt(Base):
    """One hand-out of a job to one agent, and how it ended."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_agent_ended", "agent_id", "ended_at"),
        Index("ix_attempts_output_at", "output_at"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(40))
    agent_name: Mapped[str] = mapped_column(String(128))
    needs_ack: Mapped[bool] = mapped_column()
    """False: a base-protocol agent, for whom the hand-out is the claim (contract 1.4)."""
    why: Mapped[dict[str, Any]] = mapped_column(JsonText)
    dispatched_at: Mapped[float] = mapped_column(Time)
    offered_at: Mapped[float] = mapped_column(Time)
    """When it was last put into an answer."""
    lease_until: Mapped[float] = mapped_column(Time)
    """Unacknowledged at this time, it goes back. Meaningless where `needs_ack` is false."""
    accepted_at: Mapped[float | None] = mapped_column(Time, default=None)
    running_at: Mapped[float | None] = mapped_column(Time, default=None)
    renewed_at: Mapped[float] = mapped_column(Time)
    """Last word of the agent about this attempt."""
    ended_at: Mapped[float | None] = mapped_column(Time, default=None)
    end: Mapped[str | None] = mapped_column(String(16), default=None)
    """`released`, or the job's final state."""

    status: Mapped[str | None] = mapped_column(String(16), default=None)
    output: Mapped[Any] = mapped_column(JsonText, nullable=True, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    exit_code: Mapped[int | None] = mapped_column(Integer, default=None)
    duration_ms: Mapped[int | None] = mapped_column(Integer, default=None)
    outcome: Mapped[str | None] = mapped_column(String(16), default=None)
    fault: Mapped[str | None] = mapped_column(String(16), default=None)
    timings: Mapped[dict[str, int] | None] = mapped_column(JsonText, default=None)
    """The agent's offsets in milliseconds since it received the job."""
    received_at: Mapped[float | None] = mapped_column(Time, default=None)
    """When the result came in."""
    refusal: Mapped[dict[str, Any] | None] = mapped_column(JsonText, default=None)
    """A base agent's result that looks like a duplicate-job refusal; believed only when nothing better comes."""
    refusal_at: Mapped[float | None] = mapped_column(Time, default=None)
    instance: Mapped[str | None] = mapped_column(String(100), default=None)
    """Which running agent acknowledged it (feature instance)."""
    output_at: Mapped[float | None] = mapped_column(Time, default=None)
    """When `output` was stored; None: there is none."""
    output_dropped: Mapped[bool] = mapped_column(default=False)
    """There was an output; its time is over."""


class JobOutput(Base):
    """How much of an attempt's live output there is (feature output)."""

    __tablename__ = "job_outputs"
    __table_args__ = (Index("ix_job_outputs_stored_at", "stored_at"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    """Number of the first byte that has not come yet."""
    stdout_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    """Printed so far, as far as it is known, whether kept or not."""
    stderr_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    head_bytes: Mapped[int] = mapped_column(Integer, default=0)
    """Kept for good; what comes after the head is full is the tail, whose beginning is dropped."""
    tail_bytes: Mapped[int] = mapped_column(Integer, default=0)
    ended: Mapped[bool] = mapped_column(default=False)
    """The agent has said that nothing more will come."""
    stored_at: Mapped[float | None] = mapped_column(Time, default=None)
    """When the last chunk came; None: none is kept."""
    dropped: Mapped[bool] = mapped_column(default=False)
    """What was kept is deleted: its time is over."""


class OutputChunk(Base):
    """A run of bytes of one stream, redacted by the agent."""

    __tablename__ = "output_chunks"
    __table_args__ = (
        ForeignKeyConstraint(["job_id", "attempt"], ["job_outputs.job_id", "job_outputs.attempt"], ondelete="CASCADE"),
    )

    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Bytes of both streams before it."""
    stream: Mapped[str] = mapped_column(String(8))
    offset: Mapped[int] = mapped_column(BigInteger)
    """Bytes of its stream before it."""
    size: Mapped[int] = mapped_column(Integer)
    in_tail: Mapped[bool] = mapped_column()
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Notification(Base):
    """A message an agent relayed (contract 1.8)."""

    __tablename__ = "notifications"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str | None] = mapped_column(Text, default=None)
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time, index=True)


class ServerClock(Base):
    """One row: how the clock of the last server that started stood against the machine's uptime."""

    __tablename__ = "server_clock"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    boot_id: Mapped[str] = mapped_column(String(64))
    ahead_s: Mapped[float] = mapped_column(Time)
    """Its time minus the seconds the machine had been up."""


class Audit(Base):
    """What was done by whom, in order. Rows are only ever added."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    """In the order of their transactions."""
    at: Mapped[float] = mapped_column(Time)
    actor: Mapped[str] = mapped_column(String(200))
    """Name and id of a token, an agent's name and id, or `control plane`."""
    action: Mapped[str] = mapped_column(String(64))
    """A stable token: `job.cancel`, `agent.key_refused`, …"""
    target: Mapped[str] = mapped_column(String(64), index=True)
    """Id of the job or agent."""
    detail: Mapped[dict[str, Any]] = mapped_column(JsonText)


class AuditHead(Base):
    """Where an agent's own record ended at some time, as it said. Thinned with age."""

    __tablename__ = "audit_heads"
    __table_args__ = (
        Index("ix_audit_heads_agent_id_id", "agent_id", "id"),
        Index("ix_audit_heads_agent_seq", "agent_id", "seq"),
        Index("ix_audit_heads_seen_at", "seen_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(40))
    chain: Mapped[int] = mapped_column(Integer)
    """Counts the agent's records: another state directory, or one that an operator has accepted as it is."""
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
    seen_at: Mapped[float] = mapped_column(Time)
    hour: Mapped[int] = mapped_column(Integer)
    """Of `seen_at`, since the epoch."""
    state: Mapped[str | None] = mapped_column(String(64), default=None)
    """Name of the agent's state directory (feature instance); None where it was not said."""
    verdict: Mapped[str] = mapped_column(String(16))
    """`grows`, `cut`, `rewritten` or `begun_anew`: against what had been seen before."""
