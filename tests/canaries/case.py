"""What an executor brings to the canary sweep: `tests/workers/executors/canary_<kind>.py` with a function `canary`.

::

    @contextmanager
    def canary(secret: Secret) -> Iterator[Case]:
        with FakeServer() as server:                     # a target that repeats whatever it is told
            password = secret("ssh password")            # unique, and looked for everywhere from now on
            credential = {"host": server.host, "port": server.port, "password": password}
            yield Case(
                jobs=(Job("ssh.executeCommand", {"command": "echo-my-password"}, credential),),
                hanging=Job("ssh.executeCommand", {"command": "sleep"}, credential),
                holds=lambda: server.passwords.count(password),
            )

Let the target send the secret back in every place that it has: output, error text, header, banner, certificate. A job
must end as its `ends` says, so that a case that never reaches its target fails instead of finding nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import tests.workers.executors


class Secret(Protocol):
    """Makes canaries."""

    forms: Path
    """A file with every spelling of the agent's admin token, a line each: what all jobs redact, credential or not.

    Programs in the folder `bin` beside it are found first by the agent; `actions` beside it is CUSTOM_ACTIONS_DIR.
    """

    def __call__(self, label: str, *, lines: bool = False) -> str:
        """A new secret. `label` says in a finding which one it was; `lines`: of several lines, as a private key."""

    def plain(self, label: str) -> str:
        """As above, of letters and digits only."""

    def sent(self, label: str) -> str:
        """One for a job's parameters: the control plane knows it, and nothing on the agent may keep it in clear."""


@dataclass(frozen=True)
class Job:
    """One job of the sweep."""

    action: str
    params: dict[str, Any] = field(default_factory=dict)
    credential: dict[str, Any] | None = None
    """Goes into the vault, under a connection of this job's own, before it runs."""
    ends: str = "success"
    """How: `success`, `error`, `timed_out`."""
    redacts: bool = True
    """The target has sent the secret back, so the result or the output must say that something was redacted."""


@dataclass(frozen=True)
class Case:
    """What is sent through one executor."""

    jobs: tuple[Job, ...]
    hanging: Job | None = None
    """Waits for its target, secret in hand, until it is ended. Run three times: it is timed out, it is cancelled, and
    its worker is killed. None: a kind without targets, which has no secret to hold."""
    holds: Callable[[], int] = lambda: 0
    """How many hanging jobs have come so far as to hold the secret."""


Canary = Callable[[Secret], AbstractContextManager[Case]]


def case_of(kind: str) -> Canary:
    """The case of an executor. AssertionError with what to do when it has none."""
    name = f"{tests.workers.executors.__name__}.canary_{kind}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise AssertionError(
            f"the executor '{kind}' has no canary case, so nobody knows where its secrets end up: write "
            f"{name.replace('.', '/')}.py with a function `canary` as tests/canaries/case.py describes it"
        ) from None
    return module.canary
