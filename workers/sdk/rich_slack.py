"""A rich message for Slack: Block Kit blocks, and the text that notifications and old clients show.

Slack's own limits (its reference of Block Kit): 50 blocks a message, 3,000 characters a text object, 150 a header, 10
elements a context. Texts are `plain_text`, which knows no styles, links or mentions. Code and the one link have to be
`mrkdwn`: there `&`, `<` and `>` are all that begins a mention or a link, so they are written as entities
(everywhere, as Slack reads them everywhere), and `verbatim` keeps it from making links or mentions of plain words.
"""

from __future__ import annotations

import json
from typing import Any, Final

from workers.sdk.rich import RichParameters
from workers.sdk.rich_document import Code, Document, Facts, Part, Room, Table, fitted, size
from workers.sdk.rich_formatters import document

ROOM: Final = Room(code_chars=2_900, code_lines=500, rows=20, columns=6, cell_chars=25, pods=8, pod_lines=30)
BLOCKS_MAX: Final = 50
TEXT_MAX_CHARS: Final = 3_000
HEADER_MAX_CHARS: Final = 150
BLOCKS_MAX_CHARS: Final = 12_000
"""Of all blocks as JSON. Slack documents none; it answers `msg_blocks_too_long` from some 13,000 on."""
NOTIFICATION_MAX_CHARS: Final = 200

_NOTE_CHARS: Final = 50
_SHARES: Final = (1.0, 0.5, 0.25, 0.1)


def slack_message(params: RichParameters) -> tuple[str, list[dict[str, Any]]]:
    """`(text, blocks)` for chat.postMessage. Never raises for what `outputData` holds."""
    for share in _SHARES:
        room = ROOM.smaller(share)
        drawn = document(params, room)
        blocks = _blocks(drawn, room.code_chars)
        if len(blocks) <= BLOCKS_MAX and size(json.dumps(blocks, ensure_ascii=False)) <= BLOCKS_MAX_CHARS:
            break
    else:
        blocks = [*_blocks(Document(drawn.title, (), ()), 0), _section("The output is too large to be shown.")]
    return fitted(drawn.title, NOTIFICATION_MAX_CHARS, escaped), blocks


def escaped(text: str) -> str:
    """Text that means nothing but itself. Slack reads the entities in `plain_text`, too."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fence(text: str) -> str:
    # three backticks would end the code, and one at its end would join those that do
    return escaped(text.replace("`", "`\u200b") if "```" in text or text.endswith("`") else text)


def _blocks(drawn: Document, code_chars: int) -> list[dict[str, Any]]:
    header = fitted(drawn.title, HEADER_MAX_CHARS, escaped).replace("\n", " ")
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(header)}]
    if drawn.facts:
        context = "  ·  ".join(f"{name}: {value}" for name, value in drawn.facts)
        blocks.append({"type": "context", "elements": [_plain(fitted(context, TEXT_MAX_CHARS, escaped))]})
    blocks += [block for part in drawn.parts for block in _part(part, code_chars)]
    footer = [_plain(escaped(drawn.timestamp))] if drawn.timestamp else []
    if drawn.url:
        footer.append(_mrkdwn(f"<{escaped(drawn.url)}|{drawn.link_text}>"))
    if footer:
        blocks.append({"type": "context", "elements": footer})
    return blocks


def _part(part: Part, code_chars: int) -> list[dict[str, Any]]:
    if isinstance(part, Facts):
        return [_section("\n".join(f"{name}: {value}" for name, value in part.pairs))]
    if isinstance(part, Code):
        return [*([_section(part.heading)] if part.heading else []), _code(part.text, code_chars)]
    if isinstance(part, Table):
        note = [{"type": "context", "elements": [_plain(part.note)]}] if part.note else []
        return [_code(_grid(part, code_chars), code_chars), *note]
    return [_section(part.text)]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(fitted(text, TEXT_MAX_CHARS, escaped))}


def _code(text: str, limit: int) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(f"```\n{fitted(text, limit, _fence)}\n```")}


def _grid(table: Table, limit: int) -> str:
    """Columns of equal width; rows that do not fit a text object are left out, and a line says so."""
    widths = [max(len(row[n]) for row in (table.columns, *table.rows)) for n in range(len(table.columns))]
    rows = (table.columns, tuple("-" * width for width in widths), *table.rows)
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left_out = 0
    while len(lines) > 3 and size(_fence("\n".join(lines))) > limit - _NOTE_CHARS:
        lines.pop()
        left_out += 1
    return "\n".join(lines) + (f"\n[… {left_out} more rows …]" if left_out else "")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}
