"""Canaries: secrets that nobody else can have, made so that any piece of them in any spelling can be told.

All that are made here share a core of eight random letters and digits, which stands in them again and again: every line
of a wrapped base64 or hex form holds a whole one. So one search for the core finds all of them.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field

CORE_CHARS = 8
FOREIGN_CORE_CHARS = 14
_LETTERS = string.ascii_letters + string.digits


@dataclass
class Canaries:
    """Those of one run: label → secret."""

    core: str = field(default_factory=lambda: "".join(secrets.choice(_LETTERS) for _ in range(CORE_CHARS)))
    made: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    """Secrets that the product has made itself, such as API keys."""

    def __call__(self, label: str, *, lines: bool = False) -> str:
        """A new one. It holds what encoders change: quotes, a space, `&<>%+/\\$`, letters beyond ASCII."""
        assert label not in self.made, f"two canaries are called {label}"
        number = f"{len(self.made):02d}"
        if lines:
            made = "\n".join(
                f"{self.core}{number}{line:02d}{self.core}/+{secrets.token_urlsafe(9)}" for line in range(12)
            )
        else:
            made = f"{self.core}{number}'\"&<{self.core}>%+/\\$ é{self.core}"
        self.made[label] = made
        return made

    def plain(self, label: str) -> str:
        """One of letters and digits only: for what has to be a header, a variable's value or a file's name."""
        assert label not in self.made, f"two canaries are called {label}"
        self.made[label] = f"{self.core}{len(self.made):02d}{secrets.token_hex(8)}"
        return self.made[label]

    def adopt(self, label: str, secret: str) -> str:
        """One that was made elsewhere: an API key, a token."""
        self.foreign[label] = secret
        return secret

    def cores(self) -> list[str]:
        """What to search for: the core, and the middle of each foreign one, which all its spellings hold."""
        middles = []
        for secret in self.foreign.values():
            start = (len(secret) - FOREIGN_CORE_CHARS) // 2
            middles.append(secret[start : start + FOREIGN_CORE_CHARS])
        return [self.core, *middles]

    def all(self) -> dict[str, str]:
        """Every one by its label."""
        return {**self.made, **self.foreign}
