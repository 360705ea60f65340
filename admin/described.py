"""What the routes take and answer, as the OpenAPI document shows it; what does not fit is never sent."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict


class _Success(BaseModel):
    model_config = ConfigDict(extra="forbid")

    success: Literal[True]


class Failure(BaseModel):
    """Every failure."""

    success: Literal[False]
    error: str


class Health(BaseModel):
    """This process answers."""

    status: Literal["ok"]


class Status(_Success):
    """How the agent is."""

    data: dict[str, Any]


class Names(_Success):
    """Ids of credentials."""

    data: list[str]
    count: int


class _Connection(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    connectionId: str  # noqa: N815 - the name on the wire


class Done(_Success):
    """Something was done to one entry."""

    message: str
    data: _Connection


class _Opened(_Connection):
    fields: list[str]


class Tested(_Success):
    """The names of an entry's fields, never their values."""

    message: str
    data: _Opened


class _Rekeyed(BaseModel):
    rekeyedCount: int  # noqa: N815 - the name on the wire


class Rekeyed(_Success):
    """The vault is under the new key."""

    data: _Rekeyed
    message: str


FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": Failure, "description": "Refused; `error` says why."},
    503: {"model": Failure, "description": "The vault cannot be read or written now."},
}


def body(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON body, for `openapi_extra`: it is read by the route itself, so that no failure repeats a secret of it."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object", **schema}}}}
    }


CREDENTIALS: Final = body({})
NEW_KEY: Final = body(
    {"required": ["newApiKey"], "properties": {"newApiKey": {"type": "string", "minLength": 1, "pattern": r"\S"}}}
)
