"""What a job prints, for operators: so far, or as it comes (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from controlplane.api.access import Router
from controlplane.api.envelope import answer
from controlplane.api.runtime import Runtime, runtime_of
from controlplane.services import lifecycle, outputs
from controlplane.services.errors import InvalidError
from controlplane.services.outputs import Found
from controlplane.services.tokens import Scope
from controlplane.services.transcript import Line, Transcript, plain_text

router = Router("/api/v1", tag="jobs")
KEEP_ALIVE_S: Final = 15.0
LAST_WORDS_S: Final = 5.0
"""How long after a job's end its last output is waited for, when the agent is silent about it."""

_NOT_KEPT: Final = "\n[... the output is no longer kept: EASYALERT_CP_OUTPUT_RETENTION_DAYS are over ...]\n"


@router.operators("GET", "/jobs/{job_id}/output", Scope.VIEWER)
async def job_output(
    request: Request,
    job_id: str,
    follow: Annotated[  # noqa: FBT002 - a query parameter
        bool,
        Query(
            description="Server-sent events chunk, truncated and end, until the job is final and all of it was told. "
            "A client that comes back says in Last-Event-ID where it was."
        ),
    ] = False,
    attempt: Annotated[int | None, Query(ge=1, description="Default: the last one.")] = None,
    stream: Annotated[Literal["stdout", "stderr"] | None, Query(description="Default: both.")] = None,
    form: Annotated[Literal["json", "text"], Query(alias="format")] = "json",
) -> Response:
    """What the job has printed so far: beginning and end of it, the exact sizes, and where something is missing."""
    runtime = runtime_of(request)
    place = _last_event(request.headers.get("Last-Event-ID"))
    found = await runtime.read(lambda session, _now: outputs.find(session, job_id, attempt=attempt))
    if follow:
        events = _Follower(runtime, job_id, attempt, stream, place).events()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    transcript = Transcript()
    lines = [*transcript.feed(found.pieces), *(transcript.finish(found.totals) if found.over else ())]
    if form == "text":
        text = plain_text(lines, stream) + (_NOT_KEPT if found.dropped else "")
        return PlainTextResponse(text, headers={"X-Content-Type-Options": "nosniff"})
    shown = [{"type": line.kind, **line.view()} for line in lines if stream in {None, line.stream}]
    cut = found.shortened or any(line.kind == "truncated" for line in lines)
    return answer({**_summary(job_id, found), "truncated": cut, "chunks": shown})


def _summary(job_id: str, found: Found) -> dict[str, Any]:
    return {
        "jobId": job_id,
        "attempt": found.attempt,
        "status": found.state,
        "complete": found.complete,
        "stdoutBytes": found.totals["stdout"],
        "stderrBytes": found.totals["stderr"],
        "kept": not found.dropped,
    }


def _last_event(text: str | None) -> tuple[int, int]:
    """Attempt and number of an event's id; zeros without one. Raises InvalidError."""
    if not text:
        return 0, 0
    attempt, _, seq = text.partition("-")
    if not (attempt.isascii() and attempt.isdigit() and seq.isascii() and seq.isdigit() and len(text) <= 30):
        raise InvalidError("Last-Event-ID must be the id of an event of this stream, such as 1-4096")
    return int(attempt), int(seq)


class _Follower:
    """One open stream. Holds no transaction while it waits."""

    def __init__(
        self, runtime: Runtime, job_id: str, attempt: int | None, stream: str | None, place: tuple[int, int]
    ) -> None:
        self._runtime = runtime
        self._job_id = job_id
        self._wanted = attempt
        self._stream = stream
        self._attempt, self._after = place
        self._transcript = Transcript()

    async def events(self) -> AsyncIterator[str]:
        """Every event after the place. The server's stop ends it without an `end`, so that the client comes back."""
        clock = asyncio.get_running_loop().time
        patience: float | None = None
        yield "retry: 1000\n\n"
        with self._runtime.output_watch.watching(self._job_id) as news:
            while not self._runtime.closing:
                found = await self._look()
                for line in self._transcript.feed(found.pieces, self._after):
                    if self._stream in {None, line.stream}:
                        yield self._event(line)
                if found.pieces or not found.over:
                    patience = None
                if found.state in lifecycle.FINAL:
                    patience = patience or clock() + LAST_WORDS_S
                    if found.complete or clock() >= patience:
                        yield self._last_words(found)
                        return
                if not await _heard(news, KEEP_ALIVE_S if patience is None else patience - clock()):
                    yield ": nothing new\n\n"

    async def _look(self) -> Found:
        after = self._transcript.seq
        found = await self._runtime.read(
            lambda session, _now: outputs.find(session, self._job_id, attempt=self._wanted, after=after)
        )
        if found.attempt == self._attempt:
            return found
        # the first look of a new client, or the job was handed out anew
        self._attempt, self._after, self._transcript = found.attempt, 0, Transcript()
        return await self._look() if after else found

    def _event(self, line: Line) -> str:
        # only text moves the client's place: a gap is told again rather than not at all
        number = f"{self._attempt}-{line.end}" if line.kind == "chunk" else None
        return _event(line.kind, line.view(), number)

    def _last_words(self, found: Found) -> str:
        lines = [line for line in self._transcript.finish(found.totals) if self._stream in {None, line.stream}]
        told = "".join(_event(line.kind, line.view(), None) for line in lines)
        number = f"{self._attempt}-{self._transcript.seq}"
        return told + _event("end", _summary(self._job_id, found), number)


async def _heard(news: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(news.wait(), max(0.01, seconds))
    heard = news.is_set()
    news.clear()
    return heard


def _event(kind: str, data: dict[str, Any], number: str | None) -> str:
    place = "" if number is None else f"id: {number}\n"
    return f"event: {kind}\n{place}data: {json.dumps(data, separators=(',', ':'))}\n\n"
