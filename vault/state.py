"""What can be said about a vault without opening an entry to anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "empty", "locked", "damaged", "unavailable"]


@dataclass(frozen=True, slots=True)
class VaultState:
    """The outcome of `Vault.check`.

    `state`: `ok`; `empty` (no entries, or no file yet); `locked` (the API key opens nothing); `damaged` (the file, or
    the entries listed in `damaged`); `unavailable` (permissions, disk, link). `entries` counts all of them, readable or
    not. `sentence` is for people and holds no secret.
    """

    state: State
    entries: int
    damaged: tuple[str, ...]
    sentence: str
