"""The plain server plus the extensions `longPoll`, `ack` and `receipts`, as small as tests of the agent need them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

from tests.support import base_protocol as judge
from tests.support.faults import Status
from tests.support.plain_server import PlainServer, Seen, good

EXTENSION_FIELDS = frozenset({"attempt", "outcome", "fault", "timings", "repeatable"})


class ExtendedServer(PlainServer):
    """Offers `features`. Entries given without an `attempt` get 1, and a lease."""

    def __init__(self, *features: str, long_poll_seconds: int = 25, **plain: Any) -> None:
        super().__init__(**plain)
        self.features = features or ("longPoll", "ack", "receipts")
        self.long_poll_seconds = long_poll_seconds
        self.refusals: dict[str, str] = {}
        """Job id → reason: acknowledgements of it are refused."""
        self.silent_about: set[str] = set()
        """Job ids that acknowledgements and receipts leave out."""
        self.acknowledged: list[str] = []
        self.to_cancel: list[tuple[str, int]] = []
        """What `slots=0` polls and heartbeats are told to cancel (feature cancel)."""
        self.control: dict[str, Any] = {}
        """More fields of the answers to heartbeats (feature control)."""
        self.printed: dict[str, dict[str, bytearray]] = {}
        """Job id → stream → live output, gaps as zeros."""
        self.expected: dict[str, int] = {}
        """Job id → the number its next output should have."""
        self.totals: dict[str, dict[str, int]] = {}
        """Job id → bytes of each stream, from the request that ended its output."""
        self.receipt_of: Callable[[dict[str, Any]], tuple[str, str | None]] = lambda _item: ("accepted", None)

    def answer_register(self, request: Seen) -> Status:
        super().answer_register(request)
        spoken = [name for name in self.features if name in (request.document.get("features") or [])]
        return good({"agentId": self.agent_id, "features": spoken, "longPollSeconds": self.long_poll_seconds})

    def answer_poll(self, request: Seen) -> Status:
        long_poll = "longPoll" in self.features
        self.judge_query(request, {"agentId", "wait", "slots"} if long_poll else {"agentId"})
        end = time.monotonic() + float(request.query.get("wait", 0))
        slots = int(request.query.get("slots", 1_000))
        if slots == 0 and "cancel" in self.features:
            return self._orders(end)
        with self.changed:
            while not self.waiting and time.monotonic() < end and not self.closing.is_set():
                self.changed.wait(min(0.2, max(0.0, end - time.monotonic())))
            entries = [self.waiting.popleft() for _ in range(min(slots, len(self.waiting)))]
        return good([self._handed_out(entry) for entry in entries])

    def _orders(self, end: float) -> Status:
        with self.changed:
            while not self.to_cancel and time.monotonic() < end and not self.closing.is_set():
                self.changed.wait(min(0.2, max(0.0, end - time.monotonic())))
            return good(self._cancelled())

    def cancel(self, job_id: str, attempt: int = 1) -> None:
        """Want a job ended; repeated until `to_cancel` is emptied."""
        with self.changed:
            self.to_cancel.append((job_id, attempt))
            self.changed.notify_all()

    def _cancelled(self) -> dict[str, Any]:
        return {"cancelJobs": [{"jobId": job_id, "attempt": attempt} for job_id, attempt in self.to_cancel]}

    def _handed_out(self, entry: Any) -> Any:
        if "ack" not in self.features or not isinstance(entry, dict):
            return entry
        return {"attempt": 1, "leaseSeconds": 60, **entry}

    def answer_ack(self, request: Seen) -> Status:
        if "ack" not in self.features or request.document.get("agentId") != self.agent_id:
            self.blame([f"ack: {request.document!r} was not negotiated"])
        accepted: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for item in request.document["jobs"]:
            if item["jobId"] in self.refusals:
                refused.append({**item, "reason": self.refusals[item["jobId"]]})
            elif item["jobId"] not in self.silent_about:
                accepted.append(item)
        with self.changed:
            self.acknowledged += [item["jobId"] for item in accepted]
        return good({"accepted": accepted, "refused": refused})

    def answer_output(self, request: Seen) -> Status:
        said = request.document
        if "output" not in self.features or said.get("agentId") != self.agent_id:
            self.blame([f"output: {said!r} was not negotiated"])
        job_id = request.path.split("/")[-2]
        with self.changed:
            streams = self.printed.setdefault(job_id, {"stdout": bytearray(), "stderr": bytearray()})
            for chunk in said.get("chunks", []):
                data, kept = base64.b64decode(chunk["data"]), streams[chunk["stream"]]
                known = max(0, self.expected.get(job_id, 0) - chunk["seq"])
                if data[known:]:
                    kept += bytes(chunk["offset"] + known - len(kept)) + data[known:]
                    self.expected[job_id] = chunk["seq"] + len(data)
            if "totals" in said:
                self.totals[job_id] = said["totals"]
        return good({"next": self.expected.get(job_id, 0)})

    def answer_results(self, request: Seen) -> Status:
        receipts = "receipts" in self.features
        self.blame(judge.judge_results(request.document, extra=EXTENSION_FIELDS if receipts else frozenset()))
        refusal = self.refused_report(request)
        if refusal is not None:
            return refusal
        fates = {id(item): self.receipt_of(item) for item in request.document}
        taken = [item for item in request.document if fates[id(item)][0] != "rejected"]
        with self.changed:
            for item in taken:
                self.results.setdefault(item["jobId"], []).append(item)
        if not receipts:
            return good(None)
        listed = [
            {"jobId": item["jobId"], "attempt": item.get("attempt"), "receipt": fate, "reason": reason}
            for item in request.document
            for fate, reason in (fates[id(item)],)
            if item["jobId"] not in self.silent_about
        ]
        return good({"results": listed})

    def answer_heartbeat(self, request: Seen) -> Status:
        self.blame(judge.judge_heartbeat(request.document, extra=True))
        with self.changed:
            self.heartbeats.append(request.document)
            said = self._cancelled() if "cancel" in self.features else {}
        return good({**said, **self.control})
