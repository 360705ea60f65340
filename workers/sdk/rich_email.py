"""A rich message for a mailbox: HTML with styles inside its tags (mail programs drop others), and the same as text."""

from __future__ import annotations

import html
from typing import Final

from workers.sdk.rich import RichParameters
from workers.sdk.rich_document import Code, Document, Facts, Part, Room, Table, fitted
from workers.sdk.rich_formatters import document

ROOM: Final = Room(code_chars=60_000, code_lines=60, rows=30, columns=8, cell_chars=100, pods=8, pod_lines=40)

_FONT: Final = "font-family:Segoe UI,Helvetica,Arial,sans-serif;font-size:14px;color:#1f2933"
_CODE: Final = (
    "font-family:Consolas,Menlo,monospace;font-size:12px;background:#f4f5f7;border:1px solid #d9dde3;"
    "padding:10px;white-space:pre-wrap;word-break:break-word"
)
_CELL: Final = "border:1px solid #d9dde3;padding:4px 8px;text-align:left;vertical-align:top;font-size:13px"


def email_bodies(params: RichParameters) -> tuple[str, str]:
    """`(html, plain text)`. Never raises for what `outputData` holds."""
    drawn = document(params, ROOM)
    return _html(drawn), _text(drawn)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def _html(drawn: Document) -> str:
    pieces = [f'<h2 style="margin:0 0 12px;font-size:18px">{_escaped(drawn.title)}</h2>']
    if drawn.facts:
        pieces.append(_html_part(Facts(drawn.facts)))
    pieces += [_html_part(part) for part in drawn.parts]
    if drawn.url:
        pieces.append(f'<p><a href="{_escaped(drawn.url)}" rel="noreferrer">{_escaped(drawn.link_text)}</a></p>')
    if drawn.timestamp:
        pieces.append(f'<p style="color:#667085;font-size:12px">{_escaped(drawn.timestamp)}</p>')
    inner = "\n".join(pieces)
    return (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{_escaped(drawn.title)}</title></head>\n'
        f'<body style="{_FONT}">\n{inner}\n</body></html>\n'
    )


def _html_part(part: Part) -> str:
    if isinstance(part, Facts):
        rows = "".join(_html_row("td", pair) for pair in part.pairs)
        return f'<table style="border-collapse:collapse;margin:0 0 12px">{rows}</table>'
    if isinstance(part, Code):
        heading = f'<p style="margin:8px 0 4px"><b>{_escaped(part.heading)}</b></p>' if part.heading else ""
        return f'{heading}<pre style="{_CODE}">{_escaped(fitted(part.text, ROOM.code_chars))}</pre>'
    if isinstance(part, Table):
        rows = _html_row("th", part.columns) + "".join(_html_row("td", row) for row in part.rows)
        note = f'<p style="color:#667085;font-size:12px">{_escaped(part.note)}</p>' if part.note else ""
        return f'<table style="border-collapse:collapse;margin:0 0 12px">{rows}</table>{note}'
    return f'<p style="white-space:pre-wrap">{_escaped(part.text)}</p>'


def _html_row(tag: str, cells: tuple[str, ...]) -> str:
    row = "".join(f'<{tag} style="{_CELL}">{_escaped(cell)}</{tag}>' for cell in cells)
    return f"<tr>{row}</tr>"


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


# ---- plain text -----------------------------------------------------------------------------------------------------


def _text(drawn: Document) -> str:
    pieces = [f"{drawn.title}\n{'=' * min(70, len(drawn.title))}"]
    pieces += [_text_part(part) for part in (*((Facts(drawn.facts),) if drawn.facts else ()), *drawn.parts)]
    if drawn.url:
        pieces.append(f"{drawn.link_text}: {drawn.url}")
    if drawn.timestamp:
        pieces.append(drawn.timestamp)
    return "\n\n".join(pieces) + "\n"


def _text_part(part: Part) -> str:
    if isinstance(part, Facts):
        return "\n".join(f"{name}: {value}" for name, value in part.pairs)
    if isinstance(part, Code):
        return (f"{part.heading}:\n" if part.heading else "") + fitted(part.text, ROOM.code_chars)
    if isinstance(part, Table):
        rows = "\n".join(" | ".join(row) for row in (part.columns, *part.rows))
        return f"{rows}\n({part.note})" if part.note else rows
    return part.text
