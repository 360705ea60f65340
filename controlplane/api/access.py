"""Who may call a route: declared where the route is made, checked before it runs.

There is no way to make a route of the API without saying who may call it: routers are made here, and each
takes its rule as an argument. The rule stands in the OpenAPI as `x-access`, from which the tests make their matrix.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session

from controlplane.api.runtime import runtime_of
from controlplane.services import key_auth, keys, tokens
from controlplane.services.errors import ForbiddenError, UnauthorizedError
from controlplane.services.key_auth import AgentIdentity
from controlplane.services.tokens import Scope
from easyalert.protocol.paths import API_KEY_HEADER

Endpoint = Callable[..., Awaitable[Any]]


class Router:
    """Makes routes whose access rule is not optional."""

    def __init__(self, prefix: str = "", tag: str = "") -> None:
        self.api = APIRouter(prefix=prefix, tags=[tag] if tag else None)

    def operators(self, method: str, path: str, scope: Scope, *, status: int = 200) -> Callable[[Endpoint], Endpoint]:
        """A route for people and their tools, with a bearer token of at least this scope."""
        return self._route(method, path, scope.name.lower(), status, [Depends(_operator(scope))])

    def agents(self, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
        """A route for agents, with their key. The endpoint takes `agent: Agent`."""
        return self._route(method, path, "agent", 200, [Depends(agent_identity)])

    def public(self, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
        """A route for everybody."""
        return self._route(method, path, "public", 200, [])

    def _route(
        self, method: str, path: str, access: str, status: int, dependencies: list[Any]
    ) -> Callable[[Endpoint], Endpoint]:
        return self.api.api_route(
            path,
            methods=[method],
            status_code=status,
            dependencies=dependencies,
            response_model=None,
            openapi_extra={"x-access": access},
        )


async def agent_identity(request: Request) -> AgentIdentity:
    """The agent whose key the request carries. Checked once per request."""
    known = getattr(request.state, "agent", None)
    if isinstance(known, AgentIdentity):
        return known
    runtime = runtime_of(request)
    key = request.headers.get(API_KEY_HEADER)

    def find(session: Session, now: float) -> key_auth.KeyCheck:
        return key_auth.find_key(session, runtime.keys, key, now)

    if key is None or keys.lookup_prefix(key) is None:
        raise key_auth.malformed_key()
    check = await runtime.read(find)
    identity = check.identity
    if not check.verified:
        now = runtime.clock.now()
        identity = await runtime.hash_once(
            keys.digest(key), lambda: key_auth.verify_slowly(runtime.keys, key, check, now)
        )
    request.state.agent = identity
    return identity


async def operator_id(request: Request) -> str:
    """Id of the token the request was let in with."""
    found: str = request.state.operator
    return found


def _operator(scope: Scope) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        runtime = runtime_of(request)
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not text:
            raise UnauthorizedError(
                "the header 'Authorization: Bearer <token>' is missing: "
                "make a token with 'easyalert-controlplane token create --scope operator'"
            )

        def find(session: Session, _now: float) -> tuple[str, Scope]:
            return tokens.find_token(session, text.strip())

        token_id, granted = await runtime.read(find)
        if granted < scope:
            raise ForbiddenError(f"this token has scope {granted.name.lower()}; this needs {scope.name.lower()}")
        request.state.operator = token_id

    return check
