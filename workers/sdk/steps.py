"""The steps of a `testConnection`: each with its time, so that a failure says how far it came."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from easyalert.errors import EasyAlertError

StepName = Literal["name", "tcp", "tls", "login", "permission"]
STEPS: Final[tuple[StepName, ...]] = ("name", "tcp", "tls", "login", "permission")
"""In the order they are done: name looked up, connection opened, TLS, authentication, a first harmless request."""


class Steps:
    """Records what was tried. `report()` goes into the output as `steps`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def step(self, name: StepName, detail: str = "") -> Iterator[dict[str, Any]]:
        """Time the body. What it raises fails the step, with its sentence when it is one of ours, and goes on up.

        The yielded entry's `detail` may be set in the body (the address, the TLS version, who is logged in).
        """
        entry: dict[str, Any] = {"step": name, "ok": False, "durationMs": 0, "detail": detail}
        self._done.append(entry)
        began = self._clock()
        try:
            yield entry
        except BaseException as error:
            entry["detail"] = str(error) if isinstance(error, EasyAlertError) else detail or "failed"
            raise
        else:
            entry["ok"] = True
        finally:
            entry["durationMs"] = max(0, round((self._clock() - began) * 1000))

    def passed(self, name: StepName, duration_s: float, detail: str = "") -> None:
        """A step whose time was taken elsewhere, for instance by a library that does two at once."""
        self._done.append({"step": name, "ok": True, "durationMs": round(duration_s * 1000), "detail": detail})

    def failed(self, name: StepName, duration_s: float, detail: str) -> None:
        """As `passed`, of one that failed."""
        self.passed(name, duration_s, detail)
        self._done[-1]["ok"] = False

    def report(self) -> list[dict[str, Any]]:
        """`[{"step": "tcp", "ok": true, "durationMs": 12, "detail": "10.0.0.5:22"}, …]`; a skipped one is absent."""
        return [dict(entry) for entry in self._done]
