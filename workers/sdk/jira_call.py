"""A request to Jira Cloud (REST API v3): whose token goes where, pauses it asks for, and what its answer says."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

import httpx
from pydantic import Field, field_validator, model_validator

from easyalert import __version__
from easyalert.answers import retry_after_seconds
from easyalert.errors import EasyAlertError, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import parse_target
from easyalert.netguard.transport import guarded_client
from workers.sdk.connection import Connection, OwnersOnly, SecretText
from workers.sdk.context import Context
from workers.sdk.http_body import HttpBody
from workers.sdk.parameters import Line
from workers.sdk.steps import Steps
from workers.sdk.stopping import at_the_jobs_limit, time_for
from workers.sdk.tls import tls_context
from workers.sdk.web_steps import WebSteps, no_answer

ATTEMPTS: Final = 4
"""Of one request, the repetitions after a 429 included."""
REPLY_SHOWN: Final = 500
_HINTS: Final = {
    401: "check the connection's email and apiToken",
    403: "the account may not do this",
    404: "it does not exist, or the account may not see it",
}


class JiraConnection(Connection):
    """The site, and the account that acts."""

    address: ClassVar = ("baseUrl",)
    needs_entry: ClassVar = False

    base_url: Line = Field(alias="baseUrl", description="The site, `https://NAME.atlassian.net`.")
    email: Line | None = Field(default=None, description="The account's address.")
    username: Line | None = Field(default=None, description="Used where `email` is not given.")
    api_token: SecretText = Field(alias="apiToken", description="Of that account.")
    ca_certificate: Annotated[str, OwnersOnly()] | None = Field(
        default=None,
        alias="caCertificate",
        description="Authorities to trust instead of the machine's, PEM. Counts in the vault's entry only.",
    )

    @field_validator("base_url")
    @classmethod
    def _https(cls, value: str) -> str:
        try:
            target = parse_target(value.strip(), NetworkPolicy(allow_private=True), parameter="baseUrl")
        except EasyAlertError as error:
            raise ValueError(f"cannot be used: {error}") from None
        if target.scheme != "https":
            raise ValueError("must start with https://")
        if "?" in target.path:
            raise ValueError("must have no query")
        return target.url.rstrip("/")

    @model_validator(mode="after")
    def _somebody(self) -> JiraConnection:
        if not self.account:
            raise ValueError("needs an 'email' (or 'username')")
        if ":" in self.account:
            raise ValueError("has a colon in 'email', which no login can carry")
        return self

    @property
    def account(self) -> str:
        """Who logs in."""
        return self.email or self.username or ""

    @property
    def authorization(self) -> str:
        """The header's value (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.account}:{self.api_token}".encode()).decode()

    @property
    def where(self) -> str:
        """The site, as sentences name it."""
        return parse_target(self.base_url, NetworkPolicy(allow_private=True)).short_origin


@dataclass(frozen=True)
class Answer:
    """What Jira said. `text` is redacted, `document` is the JSON value as it came, None when there is none."""

    status: int
    text: str
    document: Any
    asks_to_wait_s: float | None = None
    """Of a 429 that was not waited out."""

    def complaint(self) -> str:
        """Its errors, readable: general ones, then one for each field (`{"errorMessages": [], "errors": {}}`)."""
        said = self.document if isinstance(self.document, dict) else {}
        messages, fields = said.get("errorMessages"), said.get("errors")
        parts = [item for item in messages if isinstance(item, str)] if isinstance(messages, list) else []
        if isinstance(fields, dict):
            parts += [f"{name}: {text if isinstance(text, str) else json.dumps(text)}" for name, text in fields.items()]
        parts += [said[name] for name in ("message", "errorMessage") if isinstance(said.get(name), str)]
        return "; ".join(part for part in parts if part) or " ".join(self.text.split())[:REPLY_SHOWN]

    def sentence(self, where: str) -> str:
        """What to tell of an answer that is not the expected one."""
        hint = f" ({_HINTS[self.status]})" if self.status in _HINTS else ""
        if self.asks_to_wait_s is not None:
            hint = f" (asks for a pause of {self.asks_to_wait_s:g} s, more than is left: send the job again later)"
        if 300 <= self.status < 400:
            hint = " (a redirect, which is not followed: correct the connection's baseUrl)"
        said = self.complaint()
        return f"{where} answered {self.status}{hint}" + (f": {said}" if said else "")


@dataclass
class JiraCall:
    """One action's request and its repetitions; `seconds` limit all of them together.

    After it has ended in whatever way, `in_doubt` says whether a request was sent of which there is no answer.
    """

    ctx: Context
    connection: JiraConnection
    seconds: float
    steps: Steps = field(default_factory=Steps)
    in_doubt: bool = False

    async def ask(self, method: str, path: str, document: Any = None) -> Answer:
        """`path` below `/rest/api/3/`. Raises TargetError when there is no answer, TimeoutError at the job's limit."""
        limit = time_for(self.ctx, self.seconds)
        verify = tls_context(self.connection.ca_certificate, verify=True, connection_id=self.ctx.connection_id)
        watch = WebSteps(self.steps)
        url = f"{self.connection.base_url}/rest/api/3/{path}"
        headers = {
            "Authorization": self.connection.authorization,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": f"easyalert-agent/{__version__}",
        }
        body = None
        if document is not None:
            body, headers["Content-Type"] = json.dumps(document).encode(), "application/json"
        try:
            async with (
                asyncio.timeout(limit),
                guarded_client(self.ctx.network_policy, timeout=limit, verify=verify, resolver=watch) as client,
            ):
                request = client.build_request(
                    method, url, content=body, headers=headers, extensions={"trace": watch.trace}
                )
                return await self._repeat(client, request, watch, time.monotonic() + limit)
        except (httpx.TimeoutException, TimeoutError):
            if at_the_jobs_limit(self.ctx):
                raise TimeoutError from None
            raise TargetError(f"{self.connection.where} gave no complete answer within {self.seconds:g} s") from None
        except httpx.TransportError as error:
            raise no_answer(error, self.connection.where) from None
        finally:
            self.in_doubt = self.in_doubt or watch.sent

    async def _repeat(
        self, client: httpx.AsyncClient, request: httpx.Request, watch: WebSteps, deadline: float
    ) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            answer, pause = await _once(self.ctx, client, request)
            watch.sent = False  # there is an answer: nothing is in doubt
            if answer.status != 429:
                return answer
            if attempt == ATTEMPTS or pause >= deadline - time.monotonic():
                break
            await asyncio.sleep(pause)
        return Answer(answer.status, answer.text, answer.document, pause)


async def _once(ctx: Context, client: httpx.AsyncClient, request: httpx.Request) -> tuple[Answer, float]:
    """The answer, and the pause it asks for in seconds."""
    response = await client.send(request, stream=True)
    body = HttpBody(
        content_encoding=response.headers.get("content-encoding", ""),
        content_type=response.headers.get("content-type", ""),
    )
    async for piece in response.aiter_raw():
        body.feed(piece)
        if body.full:
            break
    await response.aclose()
    pause = retry_after_seconds(response.headers.get("retry-after"), cap=math.inf)
    return Answer(response.status_code, body.redacted(ctx.redactor), body.parsed()), pause
