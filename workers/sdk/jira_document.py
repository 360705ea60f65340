"""Plain text as an Atlassian document (ADF, version 1), which Jira Cloud's REST API v3 wants for long texts."""

from __future__ import annotations

import re
from typing import Any, Final

_BETWEEN_BLOCKS: Final = re.compile(r"\n(?:[ \t]*\n)+")


def document_of(text: str) -> dict[str, Any]:
    """One paragraph for each block of lines; a blank line ends a block, and lines within one stay lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    blocks = [block for block in _BETWEEN_BLOCKS.split(lines) if block.strip()]
    return {"type": "doc", "version": 1, "content": [_paragraph(block) for block in blocks]}


def _paragraph(block: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for number, line in enumerate(block.split("\n")):
        if number:
            parts.append({"type": "hardBreak"})
        if line:  # a text node must not be empty
            parts.append({"type": "text", "text": line})
    return {"type": "paragraph", "content": parts}
