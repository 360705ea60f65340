"""Kinds of parameters that many actions have: each refuses what is wrong with a sentence that never shows the value."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from easyalert.errors import InvalidParameter
from workers.sdk.executor import Parameters

TEXT_MAX_CHARS: Final = 1_048_576


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def one_line(value: str) -> str:
    """`value`. Raises ValueError for line breaks and other control characters."""
    if any(char < " " or char in "\x7f\x85\u2028\u2029" for char in value):
        raise ValueError("holds a line break or a control character")
    return value


def plain(value: str) -> str:
    """`value`. Raises ValueError for what is no text, or ends early where a NUL ends texts."""
    if "\0" in value:
        raise ValueError("holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds characters that are no text (lone surrogates)") from None
    return value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic wants ValueError
    return one_line(value).strip() if isinstance(value, str) else value


Text = Annotated[str, Field(max_length=TEXT_MAX_CHARS), AfterValidator(plain), AfterValidator(_not_blank)]
"""A text of any lines, not blank, that can be sent as UTF-8."""
Line = Annotated[
    str, Field(max_length=4_096), AfterValidator(plain), AfterValidator(one_line), AfterValidator(_not_blank)
]
"""One line, not blank: names, subjects, addresses. A trailing newline is refused, not stripped."""
Prose = Annotated[str, AfterValidator(plain)]
"""As `Text`, but it may be blank, and the field says how long."""
Word = Annotated[str, Field(max_length=4_096), AfterValidator(plain), AfterValidator(one_line)]
"""As `Line`, but it may be blank, which means that it is not given."""
Count = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)]
"""A number of things; a numeric text will do (defect A22), true and false will not."""


class Limited(Parameters):
    """Parameters of an action with a time limit of its own, below the job's."""

    timeout: float | None = Field(default=None, description="Seconds for the whole action; a numeric text will do.")
    timeout_seconds: float | None = Field(
        default=None, alias="timeoutSeconds", description="Used when `timeout` is not."
    )

    @field_validator("timeout", "timeout_seconds", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number of seconds")  # noqa: TRY004 - pydantic wants ValueError
        return (one_line(value).strip() or None) if isinstance(value, str) else value

    def seconds(self, default: float) -> float:
        """The action's limit: the first that is not zero. Raises InvalidParameter when it is no span of time.

        The job's own limit (contract 2.4) ends the action too: use the smaller of this and `Context.remaining`.
        """
        chosen = self.timeout or self.timeout_seconds or default
        if not 0 < chosen < float("inf"):
            raise InvalidParameter(
                "timeout" if self.timeout else "timeoutSeconds", "must be a positive number of seconds"
            )
        return chosen
