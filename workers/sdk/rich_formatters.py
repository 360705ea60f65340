"""From `outputData` to a `Document`: one formatter for each archetype, the same for every medium (contract 3.13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from workers.sdk.rich import RichParameters, archetype_of, output_data
from workers.sdk.rich_document import (
    Archetype,
    Code,
    Document,
    Facts,
    Part,
    Room,
    Table,
    Text,
    as_line,
    as_words,
    cut_lines,
    fitted,
    pretty,
    web_address,
)

_TITLE_MAX_CHARS: Final = 140
_FACT_MAX_CHARS: Final = 200


def document(params: RichParameters, room: Room) -> Document:
    """The message. Never raises, whatever `outputData` is."""
    data = output_data(params)
    archetype = archetype_of(params, data)
    parts = _FORMATTERS[archetype](data, room) if isinstance(data, dict) else []
    given = data if isinstance(data, dict) else {}
    links = ((given.get("url"), "Open"), (params.incident_url, "Open the incident"))
    url, text = next(((url, text) for value, text in links if (url := web_address(value))), (None, "Open"))
    severity = as_line(params.severity or given.get("severity"), _FACT_MAX_CHARS)
    return Document(
        title=_title(params, given, archetype),
        facts=_pairs(
            ("Workflow", params.workflow_name),
            ("Action", params.source_action),
            ("Severity", params.severity),
            ("Status", params.status),
        ),
        parts=tuple(parts or _unknown(data, room)),
        url=url,
        link_text=text,
        timestamp=as_line(params.timestamp, _FACT_MAX_CHARS),
        severity=severity.lower(),
    )


def _title(params: RichParameters, data: Mapping[str, Any], archetype: Archetype) -> str:
    of_incident = data.get("title") if archetype is Archetype.INCIDENT else None
    given = (params.title, of_incident, params.node_name, params.source_action)
    return next((line for value in given if (line := as_line(value, _TITLE_MAX_CHARS))), "Automation result")


def _pairs(*given: tuple[str, Any]) -> tuple[tuple[str, str], ...]:
    lines = ((name, as_line(value, _FACT_MAX_CHARS)) for name, value in given)
    return tuple((name, line) for name, line in lines if line)


def _facts(*given: tuple[str, Any]) -> list[Part]:
    pairs = _pairs(*given)
    return [Facts(pairs)] if pairs else []


def _code(value: Any, room: Room, heading: str = "", *, last: bool = False, lines: int | None = None) -> list[Part]:
    text = pretty(value).strip("\n") if value is not None else ""
    return [Code(cut_lines(text, lines or room.code_lines, last=last), heading)] if text.strip() else []


# ---- one for each archetype -----------------------------------------------------------------------------------------


def _tabular(data: Mapping[str, Any], room: Room) -> list[Part]:
    columns, rows = data.get("columns"), data.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list) or not columns:
        return []
    shown = [_name_of(column) for column in columns[: room.columns]]
    table = Table(
        columns=tuple(as_line(name, room.cell_chars) for name in shown),
        rows=tuple(tuple(_cells(row, shown, room)) for row in rows[: room.rows]),
        note=_left_out((len(rows), room.rows, "rows"), (len(columns), room.columns, "columns")),
    )
    cut = "the query's own limit cut the rows" if data.get("truncated") is True else None
    return [table, *_facts(("Rows", data.get("rowCount", len(rows))), ("Cut", cut))]


def _name_of(column: Any) -> Any:
    return column.get("name", column) if isinstance(column, dict) else column


def _cells(row: Any, columns: list[Any], room: Room) -> Iterable[str]:
    if isinstance(row, dict):
        cells = [row.get(as_words(name)) for name in columns]
    else:
        cells = list(row[: len(columns)]) if isinstance(row, list) else [row]
    cells += [None] * (len(columns) - len(cells))
    return (as_line(cell, room.cell_chars) for cell in cells)


def _left_out(*counts: tuple[int, int, str]) -> str:
    return ", ".join(f"{limit} of {there} {what} shown" for there, limit, what in counts if there > limit)


def _db_modify(data: Mapping[str, Any], _: Room) -> list[Part]:
    return _facts(
        ("Rows affected", data.get("rowsAffected")),
        ("Answer", data.get("statusMessage")),
        ("Database", data.get("dbname")),
        ("Type", data.get("databaseType")),
    )


def _http_response(data: Mapping[str, Any], room: Room) -> list[Part]:
    headers = data.get("headers")
    kind = headers.get("content-type", headers.get("Content-Type")) if isinstance(headers, dict) else None
    parsed = data.get("bodyParsed")
    return [
        *_facts(
            ("Status code", data.get("statusCode")),
            ("Content type", kind),
            ("Redirects to", data.get("redirectLocation")),
        ),
        *_code(parsed if parsed is not None else data.get("body"), room, "Body"),
    ]


def _pod_logs(data: Mapping[str, Any], room: Room) -> list[Part]:
    pods = data.get("pods")
    if not isinstance(pods, list):
        return []
    parts: list[Part] = []
    for pod in pods[: room.pods]:
        given = pod if isinstance(pod, dict) else {"logs": pod}
        name = as_line(given.get("name"), _FACT_MAX_CHARS) or "pod"
        parts += _facts((name, given.get("error")))
        parts += _code(given.get("logs"), room, name, last=True, lines=room.pod_lines)
        if not given.get("error") and not given.get("logs"):
            parts += _facts((name, "no output"))
    note = _left_out((len(pods), room.pods, "pods"))
    return [*_facts(("Pods", data.get("matchedCount", len(pods)))), *parts, *([Text(note)] if note else [])]


def _issue_tracker(data: Mapping[str, Any], room: Room) -> list[Part]:
    return [
        *_facts(
            ("Issue", data.get("issueKey")),
            ("Summary", data.get("summary")),
            ("Type", data.get("issueType")),
            ("Status", data.get("status")),
            ("Priority", data.get("priority")),
            ("Assignee", data.get("assignee")),
        ),
        *_words(data.get("message"), room),
    ]


def _incident(data: Mapping[str, Any], room: Room) -> list[Part]:
    tags = data.get("tags")
    listed = _tags(tags, room)
    return [
        *_facts(
            ("Incident", data.get("incidentId")),
            ("Title", data.get("title")),
            ("Severity", data.get("severity")),
            ("Status", data.get("status")),
            ("Service", data.get("service")),
            ("Source", data.get("source")),
            ("Host", data.get("host")),
            ("Assigned to", data.get("assignee", data.get("assignedTo"))),
            ("Tags", listed),
        ),
        *_words(data.get("description") or data.get("message") or data.get("summary"), room),
    ]


def _tags(tags: Any, room: Room) -> str:
    if isinstance(tags, dict):
        named = [f"{name}: {as_line(value, 50)}" for name, value in list(tags.items())[: room.tags]]
    elif isinstance(tags, list):
        named = [as_line(tag, 50) for tag in tags[: room.tags]]
    else:
        return as_line(tags, _FACT_MAX_CHARS)
    more = len(tags) - room.tags
    return ", ".join([*(as_line(tag, 20) for tag in named), *([f"and {more} more"] if more > 0 else [])])


def _words(value: Any, room: Room) -> list[Part]:
    text = as_words(value).strip()
    return [Text(fitted(text, room.text_chars))] if text else []


def _terminal(data: Mapping[str, Any], room: Room) -> list[Part]:
    streams = (("stdout", "Output"), ("stderr", "Errors"))
    code = [part for name, heading in streams for part in _code(data.get(name), room, heading)]
    if not {"stdout", "stderr"} & data.keys():
        return []
    return [*_facts(("Exit code", data.get("exitCode"))), *(code or [Text("The command printed nothing.")])]


def _confirmation(data: Mapping[str, Any], room: Room) -> list[Part]:
    named = {"confirmed": "Confirmed", "delivered": "Delivered"}
    yes_no = [(word, _yes_no(data[name])) for name, word in named.items() if name in data]
    return [
        *_words(data.get("message"), room),
        *_facts(*yes_no, ("Channel", data.get("channel")), ("To", data.get("to")), ("Subject", data.get("subject"))),
    ]


def _yes_no(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _unknown(data: Any, room: Room) -> list[Part]:
    return _code(data, room) or [Text("There is no output.")]


_FORMATTERS: Final[Mapping[Archetype, Callable[[Mapping[str, Any], Room], list[Part]]]] = {
    Archetype.TABULAR: _tabular,
    Archetype.DB_MODIFY: _db_modify,
    Archetype.HTTP_RESPONSE: _http_response,
    Archetype.POD_LOGS: _pod_logs,
    Archetype.ISSUE_TRACKER: _issue_tracker,
    Archetype.INCIDENT: _incident,
    Archetype.TERMINAL: _terminal,
    Archetype.CONFIRMATION: _confirmation,
    Archetype.UNKNOWN: _unknown,
}
