"""The circuit breaker in front of the control plane (contract 1.9): after enough failures nothing is asked for a while,
then one request goes through as a probe; its success closes the breaker, its failure opens it anew.

Time comes from a clock that is given, so tests need not wait.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from easyalert.errors import BadAnswer, Unreachable

FAILURES_TO_OPEN: Final = 9
"""Three operations of three attempts each (contract 1.9). A restart of the control plane stays below that."""
OPEN_SECONDS: Final = 30.0
_SPREAD: Final = 0.25
_LEAST_S: Final = 5.0
"""What is left of the pause at least. It is counted from the beginning of the request that failed: one that hung for
40 s was a pause by itself. Were the two added, a control plane that is back could wait over a minute to be asked."""


class CircuitBreaker:
    """Shared by every request of one process but registration. Not for use by several threads."""

    def __init__(
        self,
        *,
        threshold: int = FAILURES_TO_OPEN,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._threshold = threshold
        self._clock = clock
        self._spread = spread
        self._failures = 0
        self._cause = ""
        """What was wrong the last time, for people."""
        self._open_until: float | None = None
        self._probing = False

    @property
    def closed(self) -> bool:
        """True in normal operation; False also while a probe decides."""
        return self._open_until is None

    def seconds_left(self) -> float:
        """How long requests are still refused; 0 when the next one would go through."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Surrounds one request. Raises Unreachable without asking anybody while the breaker is open.

        Only "no usable answer" counts as a failure: a refusal proves that somebody is there. However the block is
        left (a cancelled request too), a probe's place is given back.
        """
        probe, began = self._admit(), self._clock()
        try:
            yield
        except (Unreachable, BadAnswer) as error:
            self._cause = str(error)
            self._failed(began, probe=probe)
            raise
        except Exception:
            self._succeeded()
            raise
        else:
            self._succeeded()
        finally:
            if probe:
                self._probing = False

    def _admit(self) -> bool:
        if self._open_until is None:
            return False
        if self.seconds_left() > 0 or self._probing:
            # one sentence for the whole time: it is logged when it changes
            raise Unreachable(f"{self._cause} (many times in a row; it is asked again after a pause)")
        self._probing = True
        return True

    def _failed(self, began: float, *, probe: bool) -> None:
        self._failures += 1
        # requests that were under way when the breaker opened do not prolong it
        if probe or (self._open_until is None and self._failures >= self._threshold):
            pause = OPEN_SECONDS * (1 + _SPREAD * (2 * self._spread() - 1))
            self._open_until = max(began + pause, self._clock() + _LEAST_S)

    def _succeeded(self) -> None:
        self._failures = 0
        self._open_until = None
