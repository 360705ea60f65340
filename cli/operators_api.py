"""The control plane as operators see it, for commands that send something."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from cli.secrets_in import read_line
from cli.terminal import plain
from easyalert.clear_text import safe_for_credentials
from easyalert.errors import ConfigurationError, ControlPlaneError
from easyalert.netguard.transport import system_trust

TOKEN_VARIABLE: Final = "EASYALERT_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT_S: Final = 30.0
_PAGE: Final = 500
_SHOWN: Final = 500


class OperatorsApi:
    """One control plane. Every request raises ControlPlaneError with what it answered."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        """Raises ConfigurationError without a token, or when the token would travel in clear."""
        if not safe_for_credentials(url):
            raise ConfigurationError("--url must be https: over plain http to another machine the token would be seen")
        token = read_line(token_file) if token_file is not None else os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise ConfigurationError(
                f"an operator's token is needed: --token-file FILE, or {TOKEN_VARIABLE} in the environment "
                "(easyalert-controlplane token create makes one)"
            )
        if not token.isascii() or not token.isprintable():
            raise ConfigurationError("the operator's token is none: it holds characters beyond ASCII")
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            verify=system_trust(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._http.close()

    def agent(self, agent_id: str) -> dict[str, Any]:
        """One agent's view."""
        found: dict[str, Any] = self._request("GET", f"/agents/{quote(agent_id, safe='')}")["data"]
        return found

    def agents_of(self, pool_id: str) -> list[dict[str, Any]]:
        """Every agent of a pool."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            query = {"poolId": pool_id, "limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
            answer = self._request("GET", "/agents", params=query)
            found += answer["data"]
            cursor = answer.get("nextCursor")
            if not cursor:
                return found

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """`data` of the answer."""
        return self._request(method, path, json=body)["data"]

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ControlPlaneError(f"the control plane cannot be reached: {type(error).__name__}; nothing is known "
                                    "to have been sent") from None  # fmt: skip
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict) and "data" in answer:
            return answer
        said = answer.get("error") if isinstance(answer, dict) else None
        sentence = plain(said)[:_SHOWN] if isinstance(said, str) else "an answer that is not this protocol's"
        raise ControlPlaneError(
            f"the control plane says {response.status_code}: {sentence}", status=response.status_code
        )
