"""The sample: a credential into the vault, a job that finds it there, a script, each through the whole chain."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.operator import Operator

CONNECTION: Final = "quickstart-sample"
SCRIPT: Final = 'echo "Hello from $(uname -n), $(uname -sr), as $(id -un). It is $(date +%T)."\n'
_WITHIN_S = 60.0


@dataclass(frozen=True)
class Done:
    """A job that ended well, and when its result was seen here, in milliseconds after it was sent."""

    action: str
    job: dict[str, Any]
    seen_ms: float

    @property
    def steps(self) -> list[tuple[str, float]]:
        """Names of the steps with their times since the job was created, in milliseconds; the last is ours."""
        return [
            *((step["step"], float(step["ms"])) for step in self.job["timings"]),
            ("result seen here", self.seen_ms),
        ]

    @property
    def stdout(self) -> str:
        """What a script wrote."""
        output = (self.job["result"] or {}).get("output")
        return str(output.get("stdout", "")) if isinstance(output, dict) else ""


def run(operator: Operator, agent_id: str, *, store: bool, clock: Callable[[], float] = time.monotonic) -> list[Done]:
    """Send the jobs one after the other; `store`: also put the credential into the vault first, as on the first start.

    Raises QuickstartError when one does not end with `success`.
    """
    done = []
    if store:
        # nobody needs to know it: what counts is that the next job finds it, decrypted, in the vault
        credential = {"username": "sample", "password": secrets.token_urlsafe(24)}
        params = {"connectionId": CONNECTION, "credentials": credential}
        done.append(_one(operator, agent_id, "system.storeCredential", params, None, clock))
    done.append(_one(operator, agent_id, "connection.test", {}, CONNECTION, clock))
    done.append(_one(operator, agent_id, "script.bash", {"script": SCRIPT, "timeout": 30}, None, clock))
    return done


def _one(
    operator: Operator,
    agent_id: str,
    action: str,
    params: dict[str, Any],
    connection_id: str | None,
    clock: Callable[[], float],
) -> Done:
    sent = clock()
    job_id = operator.submit(action, agent_id, params, connection_id)
    job = operator.wait(job_id, _WITHIN_S)
    seen = (clock() - sent) * 1000
    if job["status"] != "success":
        reason = (job.get("result") or {}).get("error") or job.get("statusReason") or "no reason given"
        raise QuickstartError(f"The sample job {action} ({job_id}) ended with '{job['status']}': {reason}")
    return Done(action, job, seen)
