"""The operators' HTTP interface of the control plane, as far as a quick start and a benchmark need it."""

from __future__ import annotations

import time
from typing import Any, Final, Self

import httpx

from deploy.quickstart.errors import QuickstartError

FINAL_STATES: Final = frozenset({"success", "error", "timed_out", "cancelled", "in_doubt", "expired"})
_WAIT_AT_ONCE_S = 20.0
"""Longest single wait: below the client's own time-out."""


class Operator:
    """A client with one operator's token. Every method raises QuickstartError with the server's own sentence."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # trust_env off: a proxy must not see loopback traffic
        self._http = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def healthy(self) -> bool:
        """Whether the control plane answers (contract 1.2)."""
        try:
            return self._http.get("/api/v1/health/healthz", timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def agent(self, agent_id: str) -> dict[str, Any]:
        """One agent as operators see it."""
        found: dict[str, Any] = self._ask("GET", f"/api/v1/agents/{agent_id}")
        return found

    def waiting(self, agent_id: str) -> int:
        """Jobs nobody has taken yet, this agent's own and its pool's; counted up to 100."""
        found: list[dict[str, Any]] = self._ask("GET", "/api/v1/jobs", params={"status": "pending", "limit": 100})
        return sum(job.get("targetAgentId") in (None, agent_id) for job in found)

    def history(self) -> list[dict[str, Any]]:
        """The latest jobs, newest first."""
        found: list[dict[str, Any]] = self._ask("GET", "/api/v1/jobs")
        return found

    def submit(self, action: str, agent_id: str, params: dict[str, Any], connection_id: str | None = None) -> str:
        """Queue a job for one agent; its id."""
        body: dict[str, Any] = {"actionType": action, "agentId": agent_id, "params": params}
        if connection_id is not None:
            body["connectionId"] = connection_id
        return str(self._ask("POST", "/api/v1/jobs", json=body)["id"])

    def job(self, job_id: str, wait: float = 0) -> dict[str, Any]:
        """One job with its result and the time of every step: once it is final, or after `wait` seconds."""
        found: dict[str, Any] = self._ask("GET", f"/api/v1/jobs/{job_id}", params={"wait": wait})
        return found

    def wait(self, job_id: str, within: float) -> dict[str, Any]:
        """The job once it is final. Raises QuickstartError with what it waits for after `within` seconds."""
        end = time.monotonic() + within
        while True:
            left = end - time.monotonic()
            job = self.job(job_id, wait=min(max(left, 0), _WAIT_AT_ONCE_S))
            if job["status"] in FINAL_STATES:
                return job
            if left <= 0:
                why = (job.get("why") or {}).get("sentence") or "no reason is known"
                raise QuickstartError(f"Job {job_id} is still '{job['status']}' after {within:.0f} s: {why}")

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
            body = answer.json()
        except httpx.HTTPError as error:
            raise QuickstartError(f"The control plane at {self.url} did not answer ({type(error).__name__}).") from None
        except ValueError:
            raise QuickstartError(
                f"The control plane at {self.url} answered {path} with something else than JSON."
            ) from None
        if not answer.is_success or not isinstance(body, dict) or "data" not in body:
            said = body.get("error") if isinstance(body, dict) else None
            raise QuickstartError(
                f"The control plane refused {method} {path} ({answer.status_code}): {said or 'no reason given'}"
            )
        return body["data"]
