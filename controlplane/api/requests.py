"""Bodies of the operators' routes. Unknown fields are refused: a misspelt one must not be ignored silently."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel


def _printable(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("must have no control characters and no space at its ends")
    return text


def _storable(text: str) -> str:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must have no NUL and no half characters")
    return text


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
PoolId = Annotated[str, Field(min_length=1, max_length=128)]
Tag = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
Prose = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]


class Body(BaseModel):
    """Base of all: camelCase on the wire, nothing unknown."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", allow_inf_nan=False)


class CreateAgent(Body):
    """`POST /agents`."""

    name: Name
    description: Prose = ""
    pool_id: PoolId | None = None
    tags: list[Tag] = Field(default_factory=list, max_length=50)


class ChangeAgent(Body):
    """`PATCH /agents/{id}`: what is given is set."""

    name: Name = ""
    description: Prose = ""
    pool_id: PoolId = ""
    tags: list[Tag] = Field(default_factory=list, max_length=50)


class RegenerateKey(Body):
    """`POST /agents/{id}/regenerate-key`."""

    overlap_seconds: int = Field(default=0, ge=0, le=7 * 86_400)


class AcceptRecord(Body):
    """`POST /agents/{id}/accept-record`."""

    note: Prose | None = None


class BlockAgent(Body):
    """`POST /agents/{id}/disable` and `/drain`."""

    reason: Prose | None = None
    until: AwareDatetime | None = None

    def until_seconds(self) -> float | None:
        """The end, in seconds since the epoch."""
        return None if self.until is None else self.until.astimezone(UTC).timestamp()


class PoolSettings(Body):
    """`PUT /pools/{id}`."""

    max_queue_age_seconds: int = Field(default=86_400, ge=10, le=30 * 86_400)
    lost_after_seconds: int = Field(default=600, ge=60, le=86_400)


class Signature(Body):
    """As `easyalert-agent sign-job` makes it. Judged here: where the job is sent, and until when; never the value."""

    job_id: str = Field(max_length=40)
    audience: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
    expires_at: int = Field(ge=0, le=2**53)
    key_id: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
    value: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]


class CreateJob(Body):
    """`POST /jobs`."""

    action_type: str = Field(min_length=1, max_length=128)
    params: dict[str, Any] = Field(default_factory=dict)
    connection_id: str | None = None
    pool_id: PoolId | None = None
    agent_id: str | None = Field(default=None, max_length=64)
    timeout: float | None = None
    priority: int = Field(default=0, ge=-100, le=100)
    idempotent: bool | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)] | None = None
    signature: Signature | None = None
    """Handed on untouched to agents that take signed jobs; the job gets the id that was signed."""


class PutCredentials(Body):
    """`PUT /connections/{id}/credentials`: in clear, or sealed for each agent that is to store them."""

    agent_id: str | None = Field(default=None, max_length=64)
    pool_id: PoolId | None = None
    credentials: dict[str, Any] | None = Field(default=None, min_length=1, repr=False)
    sealed: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.credentials is None) == (self.sealed is None):
            raise ValueError("give credentials, or sealed ones for each agent, and not both")
        return self


class SettleJob(Body):
    """`POST /jobs/{id}/settle`."""

    status: Literal["success", "error", "cancelled"]
    note: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_storable)]
