"""Redaction: secrets are taken out of everything that leaves a worker or reaches a log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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
