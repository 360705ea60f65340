"""Requests and answers between agent and control plane (contract 1.3-1.6, 2.1, 2.2 and the negotiated extensions).

Attribute names are snake_case here and camelCase on the wire; dump with `wire()`, which leaves out what is unset.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _encodable(value: str) -> str:
    value.encode()  # lone surrogates, which JSON can spell: neither a database nor a header takes them
    return value


Text = Annotated[str, AfterValidator(_encodable)]
"""Text that is stored or sent on by whoever receives it."""


_COUNT_MAX = 2**53
"""Every JSON reader and every database counts bytes exactly up to here."""


class Message(BaseModel):
    """Base of all wire models: camelCase on the wire, unknown fields ignored, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    always: ClassVar[frozenset[str]] = frozenset()
    """Fields of the base protocol that have a default for reading and are sent all the same."""

    def wire(self) -> dict[str, Any]:
        """The JSON object for the wire; extension fields nobody set are left out, an explicit None is sent as null."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def model_post_init(self, _context: Any, /) -> None:
        """Counts the fields of `always` as set, so that they are dumped also where this message is nested."""
        self.model_fields_set.update(self.always)


class RegisterRequest(Message):
    """`POST …/register`: five base fields, then what this agent can do beyond them."""

    hostname: Text
    agent_name: Text
    version: Text
    platform: Text
    architecture: Text
    capabilities: list[str] | None = None
    """Kinds of executors, e.g. `["http", "script"]`."""
    max_concurrent_jobs: int | None = None
    public_key: str | None = None
    """X25519 public key, raw 32 bytes, standard base64 (feature sealed)."""
    features: list[str] | None = None
    instance: str | None = None
    """`<id>.<mark>`: a random id of the agent's state directory, and a mark that a copy of it does not share."""
    repeatable: list[str] | None = None
    """Actions (`system.storeCredential`) that may run twice without harm, whatever their parameters."""


class RegisterData(Message):
    """`data` of the answer to registration. A plain server sends `agentId` only."""

    agent_id: Text
    features: list[str] = Field(default_factory=list)
    long_poll_seconds: int = 25
    """Longest `wait` the server grants, seconds (feature longPoll)."""


class JobSignature(Message):
    """Who vouches for a job (feature signed): `easyalert.protocol.signing` says what `value` is a signature of."""

    job_id: Text
    """The job's id, chosen by the signer."""
    audience: Text
    """For whom: an agent's id, or `pool:` and a pool's id."""
    expires_at: int
    """Seconds since the epoch; not to be started later."""
    key_id: Text
    value: Text
    """64 bytes in standard base64."""


class JobEnvelope(Message):
    """One job as the control plane hands it out (contract 2.1). Extension fields follow the base four."""

    always = frozenset({"connection_id", "params"})

    job_id: Text
    action_type: Text
    connection_id: Text | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    attempt: int | None = None
    """Number of this hand-out, from 1 (feature ack)."""
    lease_seconds: float | None = None
    """Acknowledge within this time of the answer, or the job goes to somebody else (feature ack)."""
    start_within_seconds: float | None = None
    """Start within this time of the answer, or report `expired`. None: 15 minutes."""
    idempotent: bool | None = None
    """The job's own word on whether it may run twice; None: the executor's."""
    signature: Any = None
    """A JobSignature (feature signed), handed on as it came: only the worker judges it."""
    requested_by: Text | None = None
    """Who asked for the job, as the control plane has authenticated them: `name (tok_…)`, for people and the record.

    One printable line of at most `REQUESTED_BY_MAX_CHARS`. Sent where `ack` was negotiated. It is the
    control plane's word and no signature covers it: who signs a job vouches for it by the key, before anybody sends it.
    """


class AckItem(Message):
    """A job's hand-out, by id and attempt."""

    job_id: Text
    attempt: int


class AckRequest(Message):
    """`POST …/jobs/ack`: these hand-outs are durable on the agent (feature ack)."""

    agent_id: Text
    jobs: list[AckItem]


class AckRefusal(Message):
    """A hand-out that is not this agent's to run (any more)."""

    job_id: Text
    attempt: int
    reason: Text
    """`cancelled`, `expired`, `reassigned` or `unknown`."""


class AckData(Message):
    """`data` of the answer to an acknowledgement: every item is in exactly one of the lists."""

    accepted: list[AckItem]
    refused: list[AckRefusal] = Field(default_factory=list)


class Timings(Message):
    """Milliseconds since the agent received the job, on its monotonic clock. Never negative, never decreasing."""

    acknowledged_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    reported_ms: int | None = None


class ResultEnvelope(Message):
    """One result (contract 2.2). `attempt`, `outcome`, `fault`, `timings` are sent only with feature receipts."""

    always = frozenset({"output", "error", "exit_code", "duration_ms"})

    job_id: Text
    status: Literal["success", "error"]
    output: Any = None
    error: Text | None = None
    exit_code: int = 0
    duration_ms: int = 0
    attempt: int | None = None
    outcome: Literal["finished", "timed_out", "in_doubt", "cancelled", "expired"] | None = None
    """How the job ended on the agent. None (plain agent): finished."""
    fault: Literal["agent", "target", "job", "control_plane"] | None = None
    """Whose fault an error is (`easyalert.errors.Fault`); None on success or when unknown."""
    repeatable: bool | None = None
    """The job ended without an outcome of its own (`in_doubt`, poison), and may run again on another agent."""
    timings: Timings | None = None


class Receipt(Message):
    """The fate of one reported result (feature receipts)."""

    job_id: Text
    attempt: int | None = None
    receipt: Literal["accepted", "duplicate", "rejected"]
    reason: Text | None = None


class ResultsData(Message):
    """`data` of the answer to a report (feature receipts)."""

    results: list[Receipt] = Field(default_factory=list)


class OutputChunk(Message):
    """A piece of what a running job has printed, redacted (feature output)."""

    seq: int = Field(ge=0, le=_COUNT_MAX)
    """Bytes the job had printed before this piece, both streams together: numbers rise, gaps were dropped."""
    stream: Literal["stdout", "stderr"]
    offset: int = Field(ge=0, le=_COUNT_MAX)
    """Bytes of the same stream before this piece."""
    data: Base64Bytes
    """Standard base64: a piece may end within a character."""


class OutputTotals(Message):
    """Bytes a job has printed, those that were dropped on the way included."""

    stdout: int = Field(ge=0, le=_COUNT_MAX)
    stderr: int = Field(ge=0, le=_COUNT_MAX)


class OutputRequest(Message):
    """`POST …/jobs/{id}/output`: what a job has printed since the last one (feature output)."""

    agent_id: Text
    attempt: int = Field(ge=1, le=2**31 - 1)
    chunks: list[OutputChunk] = Field(default_factory=list)
    """In order, together at most `OUTPUT_REQUEST_MAX_BYTES` of data."""
    totals: OutputTotals | None = None
    """Only with the last chunks: nothing more will come."""


class OutputData(Message):
    """`data` of the answer: what is kept."""

    next: int
    """`seq` expected next. Lower than what was sent: send again from there; higher: go on there."""


class SystemMetrics(Message):
    """Host figures (contract 1.6); each group independent, any may be missing."""

    cpu_percent: float | None = None
    memory_percent: float | None = None
    memory_used_mb: int | None = None
    memory_total_mb: int | None = None
    disk_percent: float | None = None
    disk_used_gb: float | None = None
    disk_total_gb: float | None = None
    load_average: tuple[float, float, float] | None = None


class MinuteCount(Message):
    """Jobs that ended within one minute. `minute` is minutes since the epoch, UTC."""

    minute: int
    executed: int
    failed: int


class WorkerFigures(Message):
    """The workers' success figures, beyond the base heartbeat (sent when the server offered any feature)."""

    executed_last_hour: int
    failed_last_hour: int
    per_minute: list[MinuteCount] = Field(default_factory=list)
    """The last 5 minutes that had jobs, oldest first."""


class Block(Message):
    """Why an agent takes no new jobs for now: said by the control plane, or by the agent of itself."""

    reason: Text | None = None
    until: Text | None = None
    """RFC 3339, for people. Clocks differ: what counts is the next field."""
    remaining_seconds: float | None = None
    """It ends this long after the message. None: when the other side says so."""


class OrdersData(Message):
    """`data` of the answer to a heartbeat, and of a poll with `slots=0` (features cancel, control)."""

    cancel_jobs: list[AckItem] = Field(default_factory=list)
    """Hand-outs that somebody wants ended. Repeated until their results are there."""
    disabled: Block | None = None
    drain: Block | None = None
    """As `disabled`; said of an agent that is about to be stopped."""
    poll_interval_seconds: int | None = None
    """Seconds between polls while idle, instead of the agent's own setting. None: as it is set there."""


class AuditHead(Message):
    """The end of an agent's audit record: a record that lacks this entry later was cut or written anew."""

    seq: int = Field(ge=1, le=_COUNT_MAX)
    hash: Text
    """SHA-256, hex."""


class ScriptIsolation(Message):
    """What keeps scripts from what their agent keeps."""

    mode: Text
    """In force: `userns`, `user`, `none`, or `refused` (no script is run)."""
    asked: Text
    """SCRIPT_ISOLATION, as it is set."""
    exposed: list[Text] = Field(default_factory=list)
    """What a script can reach of the agent's own: `vault`, `journal`, `adminToken`, `redisSocket`, `supervisorSocket`,
    `configuration`, `processTrace`, `processMemory`."""
    reason: Text | None = None
    """Why not what was asked for."""


class HeartbeatRequest(Message):
    """`POST …/heartbeat` (contract 1.6), then the extension fields (sent when the server offered any feature)."""

    agent_id: Text | None
    """None: an agent that ends without ever having been registered (contract 1.6)."""
    status: Literal["online", "offline"]
    jobs_executed: int
    """Jobs ended since the journal began, whatever their outcome. Not results delivered."""
    jobs_failed: int
    """Those of them with status error."""
    uptime_seconds: int
    version: Text
    system_metrics: SystemMetrics
    in_flight: int | None = None
    queue_depth: int | None = None
    """Jobs on the agent that have not started."""
    max_concurrent_jobs: int | None = None
    undelivered_results: int | None = None
    running_jobs: list[AckItem] | None = None
    """Jobs that have started and not ended: renews their leases (feature ack)."""
    workers: WorkerFigures | None = None
    components: dict[str, str] | None = None
    """State per component (`poller`, `redis`, `workers`, `vault`, `disk`): `ok`, or a short reason."""
    paused: Block | None = None
    """The agent was paused where it runs (feature control)."""
    audit: AuditHead | None = None
    """Where the agent's own record of what ran ends."""
    script_isolation: ScriptIsolation | None = None
