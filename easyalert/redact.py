"""Redaction: secrets are taken out of everything that leaves a worker or reaches a log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

REPLACEMENT: Final = "[REDACTED]"
MIN_SECRET_CHARS: Final = 6
"""Shorter secrets would cut ordinary words out of every output."""


class Redactor:
    """Replaces every occurrence of the given secrets. `count` is the number of replacements made so far."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({s for s in secrets if len(s) >= MIN_SECRET_CHARS}, key=len, reverse=True)
        self.count = 0

    def text(self, value: str) -> str:
        """`value` without the secrets."""
        for secret in self._secrets:
            self.count += value.count(secret)
            value = value.replace(secret, REPLACEMENT)
        return value

    @classmethod
    def of(cls, *values: Any) -> Redactor:
        """From every string leaf of the given JSON trees."""
        return cls(leaf for value in values for leaf in _leaves(value))

    def tree(self, value: Any) -> Any:
        """A JSON tree without the secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value


def _leaves(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
