"""A rich message for Microsoft Teams: an Adaptive Card 1.5.

Every text is a `TextRun` of a `RichTextBlock`: its reference says that it knows no markdown, so nothing in a text can
become a link, a list or a style. `{{DATE(…)}}` and `{{TIME(…)}}` alone mean something there; they are parted. A webhook
takes messages of about 28 KB; a card that is larger is drawn again with less of the output.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from workers.sdk.rich import RichParameters
from workers.sdk.rich_document import Code, Document, Facts, Part, Room, Table, fitted
from workers.sdk.rich_formatters import document

ROOM: Final = Room(code_chars=4_000, code_lines=500, rows=20, columns=5, cell_chars=60, pods=6, pod_lines=30)
CARD_MAX_BYTES: Final = 26_000
"""Below the 28 KB of a message, with room for what is around the card."""

_SHARES: Final = (1.0, 0.5, 0.25, 0.1, 0.03)
_FUNCTION: Final = re.compile(r"\{(?=\{\s*(?:DATE|TIME)\s*\()", re.IGNORECASE)
_SPACES: Final = re.compile(r"^ +| {2,}", re.MULTILINE)
_COLOURS: Final = {
    "critical": "Attention", "high": "Attention", "error": "Attention", "major": "Warning",
    "medium": "Warning", "warning": "Warning", "low": "Good", "info": "Accent",
}  # fmt: skip


def teams_card(params: RichParameters) -> dict[str, Any]:
    """The card (`content` of the attachment), within a webhook's size. Never raises for what `outputData` holds."""
    for share in _SHARES:
        drawn = document(params, ROOM.smaller(share))
        card = _card(drawn, ROOM.smaller(share))
        if card_bytes(card) <= CARD_MAX_BYTES:
            return card
    small = Document(drawn.title, (), (), None)
    card = _card(small, ROOM)
    card["body"].append(_block(_run("The output is too large to be shown.")))
    return card


def card_bytes(card: dict[str, Any]) -> int:
    """Its size as it is sent."""
    return len(json.dumps(card, ensure_ascii=False, separators=(",", ":")).encode())


def _card(drawn: Document, room: Room) -> dict[str, Any]:
    colour = {"color": _COLOURS[drawn.severity]} if drawn.severity in _COLOURS else {}
    body = [_block(_run(drawn.title, size="Large", weight="Bolder", **colour))]
    if drawn.facts:
        body += _part(Facts(drawn.facts), room)
    body += [element for part in drawn.parts for element in _part(part, room)]
    if drawn.timestamp:
        body.append(_block(_run(drawn.timestamp, size="Small", isSubtle=True)))
    card: dict[str, Any] = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.5",
        "msteams": {"width": "Full"},
        "body": body,
    }
    if drawn.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": drawn.link_text, "url": drawn.url}]
    return card


def _part(part: Part, room: Room) -> list[dict[str, Any]]:
    if isinstance(part, Facts):
        return [_block(*_fact_runs(part))]
    if isinstance(part, Code):
        heading = [_block(_run(part.heading, weight="Bolder"))] if part.heading else []
        return [*heading, _block(_run(_SPACES.sub(_wide, fitted(part.text, room.code_chars)), fontType="Monospace"))]
    if isinstance(part, Table):
        note = [_block(_run(part.note, isSubtle=True, size="Small"))] if part.note else []
        return [_table(part), *note]
    return [_block(_run(part.text))]


def _fact_runs(part: Facts) -> list[dict[str, Any]]:
    runs = []
    for number, (name, value) in enumerate(part.pairs):
        runs += [_run(("\n" if number else "") + f"{name}: ", weight="Bolder"), _run(value)]
    return runs


def _table(table: Table) -> dict[str, Any]:
    rows = [_row(table.columns, weight="Bolder"), *(_row(row) for row in table.rows)]
    return {"type": "Table", "firstRowAsHeader": True, "columns": [{"width": 1}] * len(table.columns), "rows": rows}


def _row(cells: tuple[str, ...], **style: Any) -> dict[str, Any]:
    items = [{"type": "TableCell", "items": [_block(_run(cell or " ", **style))]} for cell in cells]
    return {"type": "TableRow", "cells": items}


def _block(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": _FUNCTION.sub("{\u200b", text), **style}


def _wide(spaces: re.Match[str]) -> str:
    return "\u00a0" * len(spaces[0])  # several spaces are drawn as one, and columns of output would be lost
