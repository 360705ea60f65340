"""What stands between a job and its start, as files and settings: the policy, and whose signatures count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from easyalert.errors import PolicyUnusable
from easyalert.journal import Journal
from easyalert.journal.file import ToRecord
from easyalert.policy import Owned, Policy, read_policy
from easyalert.policy.rules import DRY_RUN, OK, REFUSES
from easyalert.policy.signatures import Keys, read_keys
from easyalert.protocol.keytext import KEY_BYTES, exact_base64
from easyalert.protocol.signing import key_id
from easyalert.settings import AgentSettings

NOTE: Final = "policy"
"""Journal note: `{"state": "ok" | words for the heartbeat, "sentence": text | null, "file": path, "inForce": bool,
"rules": count, "dryRun": bool, "digest": text | null, "signatures": mode}`. `inForce` outlives the file: see
`Guards.policy`."""

REGISTRATION_NOTE: Final = "registration"
"""Left by the poller: `{"agentId", …}`."""

SignatureMode = Literal["off", "warn", "require"]


@dataclass(frozen=True)
class Guards:
    """One process's view. Nothing of it is secret."""

    policy_file: Owned[Policy]
    keys_file: Owned[Keys] | None
    own_keys: Keys
    mode: SignatureMode
    audience: frozenset[str]

    @classmethod
    def of(cls, settings: AgentSettings) -> Guards:
        """From the settings; reads no file yet."""
        raw = [exact_base64(text, KEY_BYTES) for text in settings.signature_keys]
        named = settings.job_signature_keys_file
        return cls(
            policy_file=Owned(settings.policy_file, read_policy, required=settings.policy_named),
            keys_file=None if named is None else Owned(named, read_keys, required=True),
            own_keys={key_id(key): key for key in raw if key is not None},
            mode=settings.job_signatures,
            audience=frozenset(settings.signature_audience),
        )

    def policy(self, journal: Journal) -> Policy | None:
        """The policy in force; None: there is none, and all is allowed.

        Raises PolicyUnusable, also when a policy was in force since the workers started and its file is gone: an editor
        that is about to put the new one in its place must not open the agent for that moment. Raises JournalError.
        """
        found = self.policy_file.current()
        if found is None and (self.policy_file.was_there or _noted(journal).get("inForce")):
            raise PolicyUnusable(
                f"{self.policy_file.path} is gone: put it back, or restart the agent to run without a policy"
            )
        return found

    def keys(self) -> Keys:
        """The trusted keys. Raises PolicyUnusable."""
        listed = None if self.keys_file is None else self.keys_file.current()
        return {**self.own_keys, **(listed or {})}

    def names(self, journal: Journal) -> frozenset[str]:
        """Whom signed jobs may be for: the owner's word, else, in mode `warn`, the id the control plane gave."""
        if self.audience:
            return self.audience
        agent_id = self.agent_id(journal)
        return frozenset(() if agent_id is None else (agent_id,))

    def agent_id(self, journal: Journal) -> str | None:
        """Who this agent is to its control plane; None before its first registration in this run."""
        note = journal.note(REGISTRATION_NOTE)
        agent_id = note.get("agentId") if isinstance(note, dict) else None
        return agent_id if isinstance(agent_id, str) else None

    def standing(self, journal: Journal) -> dict[str, Any]:
        """The note, as it should be now. Raises JournalError."""
        known: dict[str, Any] = {"file": str(self.policy_file.path), "signatures": self.mode}
        state, problems, policy = OK, [], None
        if self.mode != "off":
            try:
                self.keys()
            except PolicyUnusable as error:
                problems.append(str(error))
                state = REFUSES if self.mode == "require" else "trusted keys are broken"
        try:
            policy = self.policy(journal)
        except PolicyUnusable as error:
            problems.append(str(error))
            state = REFUSES
        if state == OK and policy is not None and policy.dry_run:
            state = DRY_RUN
        return {
            **known,
            "state": state,
            "sentence": "; ".join(problems) or None,
            "inForce": policy is not None or bool(_noted(journal).get("inForce")),
            "rules": 0 if policy is None else len(policy.allow) + len(policy.deny),
            "dryRun": policy is not None and policy.dry_run,
            "digest": self.policy_file.digest,
        }


def to_record(standing: Mapping[str, Any], noted: Any) -> ToRecord | None:
    """The audit entry for a policy, or trust in signatures, that has changed; None where nothing of them has.

    `noted`: the note so far, None at the start of the pool; then what is in force is said, if anything is.
    """
    told = {name: standing[name] for name in ("file", "state", "digest", "rules", "signatures")}
    if isinstance(noted, dict):
        return None if told == {name: noted.get(name) for name in told} else ("policy.read", told)
    return ("policy.read", told) if standing["inForce"] or standing["signatures"] != "off" else None


def _noted(journal: Journal) -> Mapping[str, Any]:
    note = journal.note(NOTE)
    return note if isinstance(note, dict) else {}


def forget(journal: Journal) -> None:
    """At the start of the pool: what an earlier one saw does not bind this one. Raises JournalError."""
    journal.leave_note(NOTE, None)
