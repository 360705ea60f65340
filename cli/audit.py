"""`easyalert-agent audit [verify]`: the record of what ran here for whom, and whether it is what was written."""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cli.looking import settings_to_look
from cli.pause import span_of
from cli.terminal import coloured, plain
from cli.witness import Witnessed, read_witness
from easyalert.audit import Head, Verdict, verify
from easyalert.audit.moving import HEAD_NOTE
from easyalert.audit.record import moment
from easyalert.audit.verify import entries
from easyalert.errors import ConfigurationError
from easyalert.journal import Journal
from easyalert.runtime import EXIT_DEGRADED, EXIT_OK
from easyalert.settings import AgentSettings

_CHAIN: Final = ("seq", "at", "kind", "mark", "prev", "hash")


def main(options: argparse.Namespace) -> int:
    """Show or verify. Raises ConfigurationError, AuditError, JournalError."""
    settings = settings_to_look()
    return _verify(settings, options) if options.verify else _show(settings, options)


# ---- show -----------------------------------------------------------------------------------------------------------


def _show(settings: AgentSettings, options: argparse.Namespace) -> int:
    since = "" if options.since is None else moment(_since(options.since, time.time()))
    found = [entry for entry in [*entries(settings.audit_dir), *_waiting(settings)] if entry["at"] >= since]
    if options.limit is not None:
        found = found[-options.limit :] if options.limit > 0 else []
    if options.json:
        print(json.dumps(found))
        return EXIT_OK
    for entry in found:
        print(_line(entry))
    if not found:
        print("nothing is recorded" + (" since then" if since else " yet"))
    return EXIT_OK


def _waiting(settings: AgentSettings) -> list[dict[str, Any]]:
    """What is in the journal still: it is moved within seconds while the agent runs, and at its next start."""
    if not settings.journal_path.exists():  # opening it would make it
        return []
    with Journal(settings.journal_path) as journal:
        rows = journal.audit_waiting(100_000)
    return [{**row.fields, "at": moment(row.at), "kind": row.kind, "seq": None} for row in rows]


def _line(entry: dict[str, Any]) -> str:
    facts = [f"{name}={_fact(entry[name])}" for name in sorted(entry) if name not in _CHAIN and entry[name] is not None]
    number = "waiting" if entry["seq"] is None else str(entry["seq"])
    return f"{number:>7}  {entry['at']}  {plain(entry['kind']):<18} {' '.join(facts)}".rstrip()


def _fact(value: Any) -> str:
    """In quotes where it could pass for further facts: names and ids are others' words."""
    text = plain(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' ="') else text


def _since(text: str, now: float) -> float:
    seconds = span_of(text)
    if seconds is not None:
        return now - seconds
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise ConfigurationError(f"--since {text!r} is no time; write 90s, 30m, 2h, 1d or 2026-01-31T18:00") from None


# ---- verify ---------------------------------------------------------------------------------------------------------


def _verify(settings: AgentSettings, options: argparse.Namespace) -> int:
    witness = _witness(settings, options)
    own = [anchor for anchor in (_own_anchor(settings), _given(options.anchor)) if anchor is not None]
    verdict = verify(settings.audit_dir, [*own, *(witness.heads if witness else ())])
    warned = witness is not None and witness.warning is not None
    code = EXIT_OK if verdict.broken is None and not warned else EXIT_DEGRADED
    if options.json:
        print(json.dumps({**_report(verdict), **({} if witness is None else {"witness": _of(witness, verdict)})}))
        return code
    if verdict.broken is not None:
        print(f"{coloured('broken', 'bad')}: {plain(verdict.broken)}")
        print(f"  {verdict.entries} entries before it are whole; compare with what the control plane has witnessed")
    else:
        end = "" if verdict.last is None else f"; it ends with {verdict.last.seq}:{verdict.last.hash}"
        print(f"{coloured('whole', 'good')}: {verdict.entries} entries{end}")
    if verdict.torn_bytes:
        print(
            f"the last line is not whole ({verdict.torn_bytes} bytes): cut off by a kill or a power cut, or under way"
        )
    if witness is not None:
        print("\n".join(_witnessed(witness, verdict)))
    return code


def _witness(settings: AgentSettings, options: argparse.Namespace) -> Witnessed | None:
    """Raises ConfigurationError, also for another agent's list, and AuditError."""
    if options.witness is None:
        if options.token_file is not None:
            raise ConfigurationError("--token-file is for a --witness that is a URL")
        return None
    witness = read_witness(options.witness, None if options.token_file is None else Path(options.token_file))
    if settings.journal_path.exists():
        with Journal(settings.journal_path) as journal:
            note = journal.note("registration")
        mine = note.get("agentId") if isinstance(note, dict) else None
        if mine not in {None, witness.agent_id}:
            raise ConfigurationError(
                f"--witness is about agent {plain(witness.agent_id)}, and this one is {plain(mine)}"
            )
    return witness


def _checked(witness: Witnessed, verdict: Verdict) -> int:
    """How many of the heads are of entries that the record holds and that were looked at."""
    if verdict.first is None or verdict.last is None:
        return 0
    return sum(verdict.first <= head.seq <= verdict.last.seq for head in witness.heads)


def _of(witness: Witnessed, verdict: Verdict) -> dict[str, Any]:
    return {
        "agentId": witness.agent_id,
        "heads": len(witness.heads),
        "checked": _checked(witness, verdict),
        "lastSeenAt": witness.last_seen,
        "earlierRecords": witness.earlier,
        "warning": witness.warning,
    }


def _witnessed(witness: Witnessed, verdict: Verdict) -> list[str]:
    if not witness.heads:
        return ["witnessed: nothing; the control plane has not seen any entry of this record"]
    to = max(head.seq for head in witness.heads)
    seen = f"witnessed: {len(witness.heads)} entries, up to {to}, the last seen {plain(witness.last_seen or '')}"
    lines = [f"{seen}; {_checked(witness, verdict)} of them were compared"]
    if witness.earlier:
        lines.append(f"note: {witness.earlier} earlier record(s) of this agent were witnessed, which this one replaced")
    if witness.warning is not None:
        lines.append(f"{coloured('warning', 'bad')} of the control plane: {plain(witness.warning)}")
    return lines


def _report(verdict: Verdict) -> dict[str, Any]:
    last = verdict.last
    return {
        "whole": verdict.broken is None,
        "broken": verdict.broken,
        "entries": verdict.entries,
        "first": verdict.first,
        "last": None if last is None else {"seq": last.seq, "hash": last.hash},
        "tornBytes": verdict.torn_bytes,
    }


def _own_anchor(settings: AgentSettings) -> Head | None:
    """What the journal remembers of the record's end."""
    if not settings.journal_path.exists():
        return None
    with Journal(settings.journal_path) as journal:
        note = journal.note(HEAD_NOTE)
    return Head.read(f"{note.get('seq')}:{note.get('hash')}") if isinstance(note, dict) else None


def _given(text: str | None) -> Head | None:
    if text is None:
        return None
    found = Head.read(text)
    if found is None:
        raise ConfigurationError("--anchor is SEQ:HASH, a number and 64 hexadecimal digits")
    return found
