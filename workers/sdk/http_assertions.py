"""What an HTTP answer must be (contract 3.3): evaluated for every status, the first failure wins."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic import Field, field_validator

from workers.sdk.executor import Parameters
from workers.sdk.http_body import BODY_MAX_BYTES, HttpBody, parse_json
from workers.sdk.parameters import Prose, Word

StatusRange = tuple[int, int]
"""First and last."""
_LIST_MAX: Final = 100
_CODES: Final = re.compile(r"(\d{3})(?:-(\d{3}))?|([1-5])xx")


class Assertions(Parameters):
    """Empty and null ones are not given. One that cannot be understood is an error and not skipped, as the contract's
    base form does: a check that silently does not happen is worse than none.
    """

    status_codes: tuple[StatusRange, ...] = Field(
        default=(),
        alias="statusCodes",
        description='Accepted: `"200,201"`, `[200, 404]`, also `"200-299"` and `"2xx"`.',
    )
    body_contains: Prose | None = Field(
        default=None, alias="bodyContains", max_length=BODY_MAX_BYTES, description="Text that must occur in the body."
    )
    body_not_contains: Prose | None = Field(
        default=None, alias="bodyNotContains", max_length=BODY_MAX_BYTES, description="Text that must not occur."
    )
    json_path: Word | None = Field(
        default=None, alias="jsonPath", description="Dotted path (`items.0.name`); needs `jsonPathValue`."
    )
    json_path_value: Any = Field(
        default=None, alias="jsonPathValue", description="What stands there, compared as text."
    )

    @field_validator("status_codes", mode="before")
    @classmethod
    def _ranges(cls, value: Any) -> Any:
        if value is None:
            return ()
        return tuple(status_range(code) for code in listed(value))

    def problem(self, status: int, body: HttpBody) -> str | None:
        """The first assertion that fails, as a sentence; None when all hold. `body` counts up to its limit."""
        if self.status_codes and not in_ranges(status, self.status_codes):
            return f"assertion failed: HTTP {status} is not one of the expected status codes"
        return self._body_problem(body) if self.body_contains or self.body_not_contains or self.json_path else None

    def _body_problem(self, body: HttpBody) -> str | None:
        text = body.text()
        unread = "; the body is longer than what is read of it" if body.truncated else ""
        if self.body_contains and self.body_contains not in text:
            return f"assertion failed: the body does not contain {_shown(self.body_contains)}{unread}"
        if self.body_not_contains and (self.body_not_contains in text or body.truncated):
            found = "contains" if self.body_not_contains in text else "may contain"
            return f"assertion failed: the body {found} {_shown(self.body_not_contains)}{unread}"
        if self.json_path and self.json_path_value is not None:
            return _path_problem(text, self.json_path, self.json_path_value, unread)
        return None


def listed(value: Any) -> list[str]:
    """The items of a list, or of a text with commas, in lower case. Raises ValueError for a list without end."""
    items = [str(item) for item in value] if isinstance(value, list) else str(value).split(",", _LIST_MAX)
    if len(items) > _LIST_MAX:
        raise ValueError(f"must be at most {_LIST_MAX} status codes")
    return [word for item in items if (word := item.strip(" ").lower())]


def in_ranges(status: int, ranges: tuple[StatusRange, ...]) -> bool:
    """Whether it is in one of them."""
    return any(first <= status <= last for first, last in ranges)


def status_range(code: str) -> StatusRange:
    """Of `404`, `200-299`, `2xx`. Raises ValueError."""
    match = _CODES.fullmatch(code)
    if match is None:
        raise ValueError('must be status codes such as "200,201"')
    if match[3]:
        return int(match[3]) * 100, int(match[3]) * 100 + 99
    return int(match[1]), int(match[2] or match[1])


def _path_problem(text: str, path: str, expected: Any, unread: str) -> str | None:
    try:
        value = parse_json(text.removeprefix("\ufeff"))
    except ValueError:
        return f"assertion failed: the body is no JSON, so there is no {_shown(path)}{unread}"
    for segment in path.removeprefix("$").removeprefix(".").split("."):
        if isinstance(value, dict) and segment in value:
            value = value[segment]
        elif isinstance(value, list) and segment.isdecimal() and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return f"assertion failed: the body has no {_shown(path)}"
    if _texts(value).isdisjoint(_texts(expected)):
        return f"assertion failed: {_shown(path)} is {_shown(_text(value))}, not {_shown(_text(expected))}"
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts(value: Any) -> set[str]:
    """`value` as text; true, false and null also as Python writes them, because expectations were written that way."""
    return {_text(value), str(value)} if value is None or isinstance(value, bool) else {_text(value)}


def _shown(text: str) -> str:
    return repr(text)  # not cut here: a secret cut in two is not found by the redactor any more
