"""The jobs of a run: handed in at an even pace, each exactly once however often the control plane is away; some of
them are cancelled, before they start or in their midst.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from chaos.checker import FINAL
from chaos.recorder import Recorder

_OPEN: Final = "pending,dispatched,accepted,running"
_IDEMPOTENT_EVERY: Final = 10
_LENGTH_S: Final = (0.01, 0.6)
_CANCELLED_EVERY: Final = 12
_CANCELLED_LENGTH_S: Final = (0.5, 3.0)
_CANCELLED_AFTER_S: Final = (0.0, 4.0)
"""Since it was handed in: some have not started then, most run, some have just ended."""
_BATCH: Final = 8
"""Jobs come in batches, so that a line forms and all slots are taken."""
_RETRY_S: Final = 0.2


@dataclass(frozen=True)
class Planned:
    """One job of the load."""

    number: int
    at: float
    length: float
    idempotent: bool
    cancel_after: float | None = None
    """Seconds since it was handed in; None: it is not cancelled."""


def planned(seed: int, jobs: int, seconds: float) -> list[Planned]:
    """`jobs` jobs over `seconds`, in batches at an even pace; the same for the same seed."""
    dice = random.Random(seed)
    return [_planned(dice, number, number // _BATCH * _BATCH * seconds / jobs) for number in range(jobs)]


def _planned(dice: random.Random, number: int, at: float) -> Planned:
    # drawn always, used or not: one job's kind must not change the others
    length, long, cancel_after = (
        round(dice.uniform(*bounds), 3) for bounds in (_LENGTH_S, _CANCELLED_LENGTH_S, _CANCELLED_AFTER_S)
    )
    idempotent = number % _IDEMPOTENT_EVERY == 9
    if number % _CANCELLED_EVERY != 5:
        return Planned(number, at, length, idempotent)
    return Planned(number, at, long, idempotent, cancel_after)


class Load:
    """Submits and cancels in threads of its own; `ids` and `cancels` grow while it does."""

    def __init__(self, api: httpx.Client, recorder: Recorder, jobs: list[Planned], run_id: str) -> None:
        self._api = api
        self._recorder = recorder
        self._jobs = jobs
        self._run_id = run_id
        self._stop = threading.Event()
        self.ids: dict[int, str] = {}
        self.cancels: dict[int, int] = {}
        """Number of a job → the answer to the request to cancel it: 200, 202, or 409 for one that is over."""
        self.refused: list[str] = []
        self._to_cancel: list[tuple[float, int]] = []
        """A heap: (when, number of the job)."""
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True) for work in (self._submit_all, self._cancel)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """Whether jobs are still being handed in or cancelled."""
        return self._threads[0].is_alive() or bool(self._to_cancel)

    def stop(self) -> None:
        """Hand in and cancel no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def unfinished(self) -> int | None:
        """How many submitted jobs are not final, at most 500; None: the control plane does not answer."""
        found = ask(self._api, "/jobs", status=_OPEN, limit=500)
        return None if found is None else len(found)

    def finals(self) -> list[tuple[str, str]]:
        """(job id, state) of the newest jobs of this load that are final now."""
        found = ask(self._api, "/jobs", status=",".join(sorted(FINAL)), limit=500)
        ours = set(self.ids.values())
        return [(str(job["id"]), str(job["status"])) for job in found or [] if job["id"] in ours]

    def _submit_all(self) -> None:
        began = time.monotonic()
        for job in self._jobs:
            if self._stop.wait(max(0.0, began + job.at - time.monotonic())):
                return
            self._submit(job)

    def _submit(self, job: Planned) -> None:
        body: dict[str, Any] = {
            "actionType": "script.bash",
            "params": {"script": self._recorder.script(job.number, job.length)},
            "poolId": "default",
            "idempotencyKey": f"{self._run_id}-{job.number}",
        }
        if job.idempotent:
            body["idempotent"] = True
        while not self._stop.is_set():
            try:
                answer = self._api.post("/jobs", json=body)
            except httpx.HTTPError:
                self._stop.wait(_RETRY_S)
                continue
            if answer.status_code in {200, 201}:
                self.ids[job.number] = str(answer.json()["data"]["id"])
                if job.cancel_after is not None:
                    heapq.heappush(self._to_cancel, (time.monotonic() + job.cancel_after, job.number))
                return
            if answer.status_code < 500 and answer.status_code != 429:
                self.refused.append(f"job {job.number} was refused with {answer.status_code}: {answer.text[:200]}")
                return
            self._stop.wait(_RETRY_S)

    def _cancel(self) -> None:
        while not self._stop.wait(0.02):
            while self._to_cancel and self._to_cancel[0][0] <= time.monotonic():
                due, number = heapq.heappop(self._to_cancel)
                if not self._cancelled(number):  # the control plane is away: again in a moment
                    heapq.heappush(self._to_cancel, (due, number))
                    break

    def _cancelled(self, number: int) -> bool:
        try:
            answer = self._api.post(f"/jobs/{self.ids[number]}/cancel")
        except httpx.HTTPError:
            return False
        if answer.status_code >= 500 or answer.status_code == 429:
            return False
        self.cancels[number] = answer.status_code
        if answer.status_code not in {200, 202, 409}:
            self.refused.append(f"job {number} could not be cancelled: {answer.status_code} {answer.text[:200]}")
        return True


def ask(api: httpx.Client, path: str, **query: Any) -> Any:
    """`data` of an answer; None when there was none."""
    try:
        answer = api.get(path, params=query)
        return answer.json()["data"] if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
