"""Before the start fence: may this job run on this agent? Signature first, then what was sealed to it, then policy.

A job that may not is answered without ever being `started`. What may run leaves here with its parameters opened: those
that were judged are those that run. Sealed parameters are opened here, after the signature, because a policy that did
not see what runs would be none. Sealed credentials are not: the policy is asked about the connection and the action,
and only what stores them opens them.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from easyalert.errors import (
    AgentFault,
    EasyAlertError,
    Fault,
    JournalError,
    PolicyRefused,
    PolicyUnusable,
    SealRefused,
    SignatureRefused,
    VaultError,
)
from easyalert.journal import JobRow, Journal, Spending
from easyalert.policy import Decision, Policy, asked_of, decide
from easyalert.policy.signatures import Delivered, trusted_signature
from easyalert.protocol.canonical import canonical
from workers.guards import Guards
from workers.sdk import ExecutorResult, failure
from workers.toolbox import Toolbox

log = logging.getLogger(__name__)

_SENTENCE_MAX: Final = 300
_Signed = tuple[dict[str, Any], Spending | None, str | None]
"""Parameters that run, the use of their signature, and what the record says of it."""

Judged = Mapping[str, dict[str, Any] | None]
"""A connection's id and its entry in the vault; None: there is no entry."""


@dataclass(frozen=True)
class Admitted:
    """The job may start."""

    params: dict[str, Any]
    """What runs, in clear but for sealed credentials."""
    spending: Spending | None = None
    """The use of its signature or of what is sealed in it, to be recorded with the start."""
    policy: str | None = None
    """What the policy said, for the audit record; None: there is none."""
    signature: str | None = None
    """What became of its signature, for the audit record: `key …`, or why none is trusted; None: nobody looked."""
    credential: Judged | None = None
    """The vault's entry that the policy has judged, under its connection's id: the job gets this one and no other."""
    sealed: bool = False
    """The parameters had been sealed: the control plane is not to see them in the result either."""

    def __repr__(self) -> str:
        return "Admitted()"


@dataclass(frozen=True)
class Refused:
    """The job does not start; this is its result."""

    result: ExecutorResult
    why: str
    """For the audit record: whose word it was and what it said, never anything of the job's parameters."""


class Gate:
    """One worker's. Raises JournalError."""

    def __init__(
        self, tools: Toolbox, journal: Journal, *, guards: Guards | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._tools = tools
        self._journal = journal
        self._guards = tools.guards() if guards is None else guards
        self._clock = clock

    def judge(self, row: JobRow) -> Admitted | Refused:
        """The way in, or the job's result: whatever goes wrong here, the job does not start."""
        try:
            policy = self._guards.policy(self._journal)
            sent, spending, signature = self._signed(row, self._tools.open_params(row))
            params, spending = self._unsealed(row, sent, spending)
            credential = None if policy is None else self._credential(policy, row)
            decision = None if policy is None else self._decided(policy, row, params, credential)
        except JournalError:
            raise
        except EasyAlertError as error:
            return self._refusal(row, error)
        except Exception as error:  # a job's oddity must neither end the worker nor open the gate
            log.debug("the details", exc_info=error)
            odd = AgentFault(f"unexpected {type(error).__name__} while the job was judged, so it was not started")
            return self._refusal(row, odd)
        if decision is not None and decision.dry_run:
            return self._not_run(row, decision)
        said = None if decision is None else decision.sentence
        return Admitted(params, spending, said, signature, credential, sealed=params is not sent)

    # ---- signatures -------------------------------------------------------------------------------------------------

    def _signed(self, row: JobRow, params: dict[str, Any]) -> _Signed:
        """Raises SignatureRefused and PolicyUnusable when signatures are required, else logs their sentence."""
        if self._guards.mode == "off":
            return params, None, None
        try:
            return self._trusted(row, params)
        except (SignatureRefused, PolicyUnusable) as error:
            if self._guards.mode == "require":
                raise
            log.warning("job %s (%s) runs without a trusted signature: %s", row.job_id, row.action, error)
            return params, None, f"not trusted: {error}"

    def _trusted(self, row: JobRow, params: dict[str, Any]) -> _Signed:
        job = Delivered(row.job_id, row.action, row.connection_id, row.idempotent, params, row.signature)
        names = self._guards.names(self._journal)
        signature = trusted_signature(job, self._guards.keys(), names, self._clock())
        user = self._journal.spent_by(signature.job_id)
        if user not in {None, row.key}:
            raise SignatureRefused(f"the signature was used before (see: easyalert-agent jobs {user}); sign a new job")
        # 1 and 1.0 are one number to the signature; what runs is the one spelling that was signed
        spending = Spending(signature.job_id, signature.expires_at)
        return json.loads(canonical(params)), spending, f"trusted: key {signature.key_id}"

    # ---- what is sealed ---------------------------------------------------------------------------------------------

    def _unsealed(
        self, row: JobRow, params: dict[str, Any], spending: Spending | None
    ) -> tuple[dict[str, Any], Spending | None]:
        """Raises SealRefused: what is sealed is good for one start of one job, as a signature is."""
        sealed = self._tools.seals.judge(row, params, self._guards.agent_id(self._journal), self._clock())
        if sealed is None:
            return params, spending
        user = self._journal.spent_by(row.job_id)
        if user not in {None, row.key}:
            raise SealRefused(
                f"the job's sealed {sealed.purpose} were used before (see: easyalert-agent jobs {user}); "
                "seal them again"
            )
        until = max(float(sealed.expires_at), 0.0 if spending is None else spending.expires_at)
        return self._tools.seals.opened_params(row, params), Spending(row.job_id, until)

    # ---- policy -----------------------------------------------------------------------------------------------------

    def _decided(self, policy: Policy, row: JobRow, params: dict[str, Any], credential: Judged | None) -> Decision:
        """Raises PolicyRefused; in a dry run the decision speaks for itself."""
        entry = None if credential is None else credential[row.connection_id or ""]
        asked = asked_of(row.action, row.connection_id, params, entry)
        decision = decide(policy, asked, datetime.fromtimestamp(self._clock(), UTC))
        if not decision.allowed and not decision.dry_run:
            raise PolicyRefused(decision.sentence)
        return decision

    def _credential(self, policy: Policy, row: JobRow) -> Judged | None:
        """`{connection id: its entry, None for none}` when the policy looks at it; else None."""
        if not policy.looks_at_targets or not row.connection_id:
            return None
        try:
            return {row.connection_id: self._tools.read_credential(row.connection_id)}
        except VaultError as error:
            # without it nobody can tell where the job goes
            raise PolicyRefused(f"it needs the connection's address, which cannot be read: {error}") from None

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _explain(self) -> str:
        path = shlex.quote(str(self._guards.policy_file.path))
        return f"why, on the agent: easyalert-agent policy check {path} JOB.json"

    def _not_run(self, row: JobRow, decision: Decision) -> Refused:
        would = "would run" if decision.allowed else "would be refused"
        log.warning("job %s (%s): dry run, it %s: %s", row.job_id, row.action, would, decision.sentence)
        answer = {
            "dryRun": True,
            "allowed": decision.allowed,
            "rule": None if decision.rule is None else decision.rule.name,
            "sentence": decision.sentence,
        }
        sentence = f"dry run: nothing was run; the job {would}: {decision.sentence}; {self._explain()}"
        result = failure(sentence, output={"policy": answer}, exit_code=-1, fault=Fault.JOB)
        return Refused(result, f"policy: dry run, it {would}: {decision.sentence}")

    def _refusal(self, row: JobRow, error: EasyAlertError) -> Refused:
        sentence, why = str(error), "it could not be judged"
        if isinstance(error, PolicyUnusable):
            why = f"policy: every job is refused: {sentence}"
            sentence = f"this agent refuses every job: {sentence}; see: easyalert-agent policy show"
        elif isinstance(error, SignatureRefused):
            why = f"signature: {sentence}"
            sentence = f"refused, this agent runs signed jobs only: {sentence}; see: easyalert-agent sign-job --help"
        elif isinstance(error, SealRefused):
            why = f"sealed: {sentence}"
        elif isinstance(error, PolicyRefused):
            why = f"policy: {sentence}"
            sentence = f"refused by this agent's policy: {sentence}; {self._explain()}"
        log.warning("job %s (%s) is refused: %s", row.job_id, row.action, sentence[:_SENTENCE_MAX])
        return Refused(failure(sentence, exit_code=-1, fault=error.fault), why)
