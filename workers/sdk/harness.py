"""What the test of an executor needs: run an action on a made-up Context, see the result as the worker would record it.

::

    def test_it_says_hello(tmp_path):
        ran = Harness(Greeter(), tmp_path, credential={"token": "s3cr3t-token"}).run("hello", {"name": "Ada"})
        assert ran.recorded["output"] == {"text": "hello Ada"}
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from easyalert.host_keys import HostKeys, NoHostKeys
from easyalert.netguard.judge import NetworkPolicy
from workers.isolation import Isolation
from workers.limits import Limits
from workers.sdk.context import Context, Live, NoRelay, Relay, Silent
from workers.sdk.executor import Executor
from workers.sdk.result import ExecutorResult, envelope
from workers.sdk.running import run_action, settled

CONNECTION_ID: Final = "conn-of-the-test"
JOB_ID: Final = "job_of_the_test"
SECRET: Final = "agent-key-of-the-test"  # noqa: S105 - stands for the agent's own secrets, which no result may show


@dataclass(frozen=True)
class Ran:
    """One action's run."""

    result: ExecutorResult
    """What the executor returned, or what its exception was turned into."""
    recorded: dict[str, Any]
    """The same as the worker records it: redacted, cut, safe for JSON (contract 2.2)."""
    ctx: Context

    @property
    def error(self) -> str:
        """The recorded error, empty when there is none."""
        return self.recorded["error"] or ""


class Harness:
    """Runs actions of one executor. `credential` is what the vault holds for CONNECTION_ID; None: nothing."""

    def __init__(
        self,
        executor: Executor,
        tmp_dir: Path,
        *,
        credential: dict[str, Any] | None = None,
        network_policy: NetworkPolicy | None = None,
        allow_os_restart: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits | None = None,
        isolation: Isolation | None = None,
        relay: Relay | None = None,
        host_keys: HostKeys | None = None,
        live: Live | None = None,
        cancel_grace_s: float = 10.0,
    ) -> None:
        self.executor = executor
        self._tmp_dir = tmp_dir
        self._credential = credential
        self._policy = network_policy or NetworkPolicy()
        self._allow_os_restart = allow_os_restart
        self._cancelled = cancelled
        self._clock = clock
        self._limits = limits or Limits()
        self._isolation = isolation or Isolation()
        self._more: dict[str, Any] = {
            "relay": relay or NoRelay(),
            "host_keys": host_keys or NoHostKeys(),
            "live": live or Silent(),
            "cancel_grace_s": cancel_grace_s,
        }

    def context(
        self, action: str, params: dict[str, Any], *, timeout_s: int = 30, connection_id: str | None = CONNECTION_ID
    ) -> Context:
        """The Context an action would get."""
        return Context(
            job_id=JOB_ID,
            action_type=f"{self.executor.kind}.{action}",
            connection_id=connection_id,
            params=params,
            timeout_s=timeout_s,
            tmp_dir=self._tmp_dir,
            mark=f"{JOB_ID}@test",
            known_secrets=(SECRET,),
            network_policy=self._policy,
            allow_os_restart=self._allow_os_restart,
            read_credential=lambda wanted: self._credential if wanted == CONNECTION_ID else None,
            cancelled=self._cancelled,
            clock=self._clock,
            limits=self._limits,
            isolation=self._isolation,
            **self._more,
        )

    def run(
        self, action: str, params: dict[str, Any], *, timeout_s: int = 30, connection_id: str | None = CONNECTION_ID
    ) -> Ran:
        """Run it to its end. Never raises for what the action does; AssertionError when its result cannot be sent."""
        ctx = self.context(action, params, timeout_s=timeout_s, connection_id=connection_id)
        began = time.monotonic()
        with asyncio.Runner() as loop:
            result = settled(ctx, lambda: run_action(loop, self.executor, ctx, action))
            loop.run(self.executor.close())
        recorded = envelope(JOB_ID, result, ctx.redactor, int((time.monotonic() - began) * 1000))
        json.dumps(recorded, allow_nan=False).encode()
        return Ran(result, recorded, ctx)
