from __future__ import annotations

import pytest

from tests.support.jira_api import is_document
from workers.sdk.jira_document import document_of


def lines(document):
    """Paragraphs as lists of lines, a break being the border."""
    return [
        "".join("\n" if part["type"] == "hardBreak" else part["text"] for part in block["content"])
        for block in document["content"]
    ]


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("one", ["one"]),
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\ntwo", ["one", "two"]),
        ("one\r\n\r\n\r\ntwo\rthree", ["one", "two\nthree"]),
        ("\n\n one\n \t \n  two \n\n", [" one", "  two "]),
        ("*bold* <b>{panel}", ["*bold* <b>{panel}"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_blank_lines_end_paragraphs_and_lines_stay_lines(text, paragraphs):
    document = document_of(text)
    assert lines(document) == paragraphs
    assert is_document(document)


def test_a_long_text_with_many_blank_lines_is_no_work():
    assert len(document_of("a" + "\n \t" * 30_000 + "\nb")["content"]) == 2
