"""The agents' endpoints (contract 1.2) and their extensions: `longPoll`, `ack`, `receipts`, `output`, `cancel`,
`control`, `instance`.

Base agents need a 2xx for whatever they send with a good key (contract 1.10). Who is calling is known from the key; a
request that names another agent is refused with 409, never 401 or 403: those make a base agent register anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from controlplane.api.access import Router, agent_identity
from controlplane.api.bodies import foreign_json, foreign_object, lenient
from controlplane.api.dispatcher import Dispatcher
from controlplane.api.envelope import answer
from controlplane.api.orders import OrderDesk
from controlplane.api.runtime import runtime_of
from controlplane.models.tables import Agent as AgentRow
from controlplane.services import acks, agent_link, instances, orders, outputs, reports
from controlplane.services.errors import ConflictError, InvalidError, KeyInUseError
from controlplane.services.key_auth import AgentIdentity
from easyalert import crashpoints
from easyalert.protocol import features, paths
from easyalert.protocol.messages import (
    AckData,
    AckRequest,
    HeartbeatRequest,
    OutputData,
    OutputRequest,
    Receipt,
    RegisterData,
    RegisterRequest,
    ResultsData,
)

logger = logging.getLogger("easyalert.controlplane.agents")
router = Router(tag="agents' protocol")
Agent = Annotated[AgentIdentity, Depends(agent_identity)]
_HOST_MAX: Final = 256


@router.agents("POST", paths.REGISTER)
async def register(request: Request, agent: Agent) -> JSONResponse:
    """Take the agent's description of itself, answer its id and the extensions both sides have."""
    body = await foreign_object(request)
    unknown = {"hostname": "", "agentName": "", "version": "", "platform": "", "architecture": ""}
    said = lenient(RegisterRequest, body, **unknown)

    runtime = runtime_of(request)

    def work(session: Session, now: float) -> AgentRow:
        return agent_link.register(session, now, agent.agent_id, said, runtime.up_since)

    try:
        row = await runtime.write(work)
    except KeyInUseError as error:
        await _refuse(request, agent, instances.spoken(said.instance), said.hostname[:_HOST_MAX], error)
    logger.info("agent %s (%s) registered, version %s, features %s", row.name, row.id, row.version, row.features)
    if not row.features:
        return answer({"agentId": row.id})
    data = RegisterData(agent_id=row.id, features=row.features, long_poll_seconds=runtime.settings.long_poll_seconds)
    return answer(data.wire())


@router.agents("GET", paths.JOBS)
async def poll(request: Request, agent: Agent) -> JSONResponse:
    """Hand out jobs: at most `slots`, at once or within `wait` seconds (feature longPoll).

    With `slots=0` (feature cancel) nothing is handed out: the answer is which of the agent's jobs are to be cancelled.
    """
    query = request.query_params
    _same_agent(agent, query.get("agentId"))
    runtime = runtime_of(request)
    await _only_holder(request, agent)
    wait_s, slots = 0.0, 1
    if features.LONG_POLL in agent.features:
        wait_s = min(_number(query.get("wait"), 0.0), float(runtime.settings.long_poll_seconds))
        slots = int(_number(query.get("slots"), 1.0))
    dispatcher: Dispatcher = request.app.state.dispatcher
    desk: OrderDesk = request.app.state.orders
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        if slots == 0 and features.CANCEL in agent.features:
            return answer((await desk.listen(agent.agent_id, wait_s=wait_s, gone=gone)).wire())
        jobs = await dispatcher.poll(agent, slots=slots, wait_s=wait_s, gone=gone)
    finally:
        gone.cancel()
    if jobs:
        crashpoints.reached("claimed")
    return answer(jobs)


@router.agents("POST", paths.JOBS_ACK)
async def acknowledge(request: Request, agent: Agent) -> JSONResponse:
    """Permit the agent to start what it has made durable (feature ack)."""
    body = await foreign_object(request)
    try:
        said = AckRequest.model_validate(body)
    except ValueError:
        raise InvalidError("jobs must be a list of {jobId, attempt}, and agentId the agent's id") from None
    _same_agent(agent, said.agent_id)
    runtime, instance = runtime_of(request), _instance(request)

    def work(session: Session, now: float) -> AckData | ConflictError:
        refused = _why_not(session, now, agent.agent_id, instance, runtime.up_since)
        return refused or acks.acknowledge(session, now, agent.agent_id, said.jobs, instance=instance)

    data = await runtime.write(work)
    if isinstance(data, ConflictError):
        await _refuse(request, agent, instance, None, data)
    crashpoints.reached("acknowledged")
    return answer(AckData(accepted=data.accepted, refused=data.refused).wire())


@router.agents("POST", paths.JOB_OUTPUT)
async def output(request: Request, agent: Agent, job_id: str) -> JSONResponse:
    """Keep what a running job prints (feature output); the answer says what is expected next."""
    body = await foreign_object(request)
    try:
        said = OutputRequest.model_validate(body)
    except ValueError:
        raise InvalidError(
            "attempt must be a number and chunks a list of {seq, stream, offset, data}, data in base64"
        ) from None
    _same_agent(agent, said.agent_id)

    def work(session: Session, now: float) -> int:
        return outputs.take(session, now, agent.agent_id, job_id, said)

    # What a power cut takes back is asked for again; after the end the agent has nothing left to send.
    expected = await runtime_of(request).write(work, durable=said.totals is not None)
    return answer(OutputData(next=expected).wire())


@router.agents("POST", paths.RESULTS)
async def results(request: Request, agent: Agent) -> JSONResponse:
    """Record results, a bare array (contract 1.5). Each gets a receipt (feature receipts)."""
    body = await foreign_json(request)
    items: list[Any] = body if isinstance(body, list) else []
    if not isinstance(body, list):
        logger.warning("agent %s sent results that are no array; nothing was recorded", agent.agent_id)

    def work(session: Session, now: float) -> list[Receipt]:
        return reports.report(session, now, agent, items)

    receipts = await runtime_of(request).write(work) if items else []
    crashpoints.reached("recorded")
    for receipt in receipts:
        if receipt.receipt == "rejected":
            logger.warning("result of job %s from %s rejected: %s", receipt.job_id, agent.agent_id, receipt.reason)
    return answer(ResultsData(results=receipts).wire())


@router.agents("POST", paths.HEARTBEAT)
async def heartbeat(request: Request, agent: Agent) -> JSONResponse:
    """Take a heartbeat (contract 1.6)."""
    body = await foreign_object(request)
    if body.get("agentId") is None and body.get("status") == "offline":
        # A process that never got to register says goodbye (contract 1.6): this tells nothing about the registered one.
        return answer({})
    _same_agent(agent, body.get("agentId"))
    unknown = {"status": "online", "jobsExecuted": 0, "jobsFailed": 0, "uptimeSeconds": 0, "version": ""}
    body = {k: v for k, v in body.items() if k != "agentId"}
    said = lenient(HeartbeatRequest, body, agentId=agent.agent_id, systemMetrics={}, **unknown)
    kept = said.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"agent_id", "running_jobs"})

    runtime = runtime_of(request)
    interval, instance = runtime.settings.poll_interval_seconds, _instance(request)

    def work(session: Session, now: float) -> dict[str, Any] | ConflictError:
        if (refused := _why_not(session, now, agent.agent_id, instance, runtime.up_since)) is not None:
            agent_link.still_runs(session, now, agent.agent_id, said)
            return refused
        agent_link.heartbeat(session, now, agent.agent_id, said, figures=kept)
        return orders.for_agent(session, now, agent.agent_id, agent.features, poll_interval_s=interval).wire()

    data = await runtime.write(work)
    if isinstance(data, ConflictError):
        await _refuse(request, agent, instance, None, data)
    return answer(data)


@router.agents("GET", paths.CONNECTIONS)
async def connections(request: Request, agent: Agent) -> JSONResponse:
    """No definitions are sent (contract 1.7): a job carries what it needs."""
    _same_agent(agent, request.query_params.get("agentId"))
    return answer([])


@router.agents("POST", paths.NOTIFY)
async def notify(request: Request, agent: Agent) -> JSONResponse:
    """Keep a relayed notification (contract 1.8)."""
    body = await foreign_object(request)

    def work(session: Session, now: float) -> None:
        agent_link.notify(session, now, agent.agent_id, body)

    await runtime_of(request).write(work)
    return answer({})


def _same_agent(agent: AgentIdentity, named: Any) -> None:
    if named is not None and named != agent.agent_id:
        raise ConflictError(
            f"this key belongs to agent {agent.agent_id}, the request names another: register again, "
            "or give each agent its own key",
            code="agent_mismatch",
        )


def _instance(request: Request) -> str | None:
    return instances.spoken(request.headers.get(paths.INSTANCE_HEADER))


async def _only_holder(request: Request, agent: AgentIdentity) -> None:
    """Let the running agent pass that holds the key, and everybody while none does. Raises ConflictError."""
    runtime, instance = runtime_of(request), _instance(request)
    refused = instances.why_not(agent.holder, instance, runtime.clock.now(), runtime.up_since)
    if refused is not None:
        await _refuse(request, agent, instance, None, refused)


def _why_not(
    session: Session, now: float, agent_id: str, instance: str | None, up_since: float
) -> ConflictError | None:
    row = session.get(AgentRow, agent_id)
    return None if row is None else instances.why_not(instances.Holder.of(row), instance, now, up_since)


async def _refuse(
    request: Request, agent: AgentIdentity, instance: str | None, host: str | None, error: ConflictError
) -> NoReturn:
    """Audit and log the first refusal of each; raise `error`."""
    if isinstance(error, KeyInUseError):

        def work(session: Session, now: float) -> bool:
            return instances.note_refusal(session, now, agent.agent_id, instance, host)

        if await runtime_of(request).write(work):
            logger.warning(
                "agent %s: a second one (host %s, instance %s) came with its key and gets no jobs; the key is held by"
                " host %s", agent.agent_id, host, instances.short(instance), agent.holder.host,
            )  # fmt: skip
    raise error


def _number(text: str | None, default: float) -> float:
    try:
        number = float(text) if text is not None else default
    except ValueError:
        return default
    return number if 0 <= number < 1e9 else default


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
