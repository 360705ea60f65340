"""The vault's key, derived from the agent's API key (contract 4.1)."""

from __future__ import annotations

from typing import Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ITERATIONS: Final = 600_000
KEY_BYTES: Final = 32

# A process meets one salt, two around a rekey; the bound keeps a file that is swapped for ever from filling memory.
_REMEMBERED: Final = 16


def derive(api_key: str, salt: bytes) -> bytes:
    """Derive the 32-byte AES key by PBKDF2-HMAC-SHA256, 600,000 rounds, about 0.1 s (contract 4.1)."""
    secret = api_key.encode("utf-8", "surrogatepass")
    return PBKDF2HMAC(algorithm=SHA256(), length=KEY_BYTES, salt=salt, iterations=ITERATIONS).derive(secret)


class VaultKey:
    """The API key an agent opens its vault with, and the previous one while a rotation is under way.

    Derivation is slow on purpose, so its outcome is remembered per salt: a parent process that touches the vault once
    before it forks spares every child the 0.1 s. The API keys are kept, because a vault made anew or rekeyed has
    another salt. Opaque: neither printed, pickled nor compared by content.
    """

    __slots__ = ("__api_keys", "__derived")

    def __init__(self, api_key: str, previous_api_key: str | None = None) -> None:
        keys = [api_key]
        if previous_api_key and previous_api_key != api_key:
            keys.append(previous_api_key)
        self.__api_keys = tuple(keys)
        # No lock, as forked children would inherit a held one; two threads may derive the same key twice, harmlessly.
        self.__derived: dict[tuple[int, bytes], bytes] = {}

    @property
    def has_previous(self) -> bool:
        """Whether a previous API key is at hand."""
        return len(self.__api_keys) > 1

    def current(self, salt: bytes) -> bytes:
        """Derive (or remember) the key everything is written with."""
        return self.__at(0, salt)

    def previous(self, salt: bytes) -> bytes:
        """Derive (or remember) the previous API key's. Only where `has_previous`."""
        return self.__at(1, salt)

    def rotated_to(self, new_api_key: str) -> VaultKey:
        """A key that writes with `new_api_key` and still reads what this one wrote."""
        return VaultKey(new_api_key, self.__api_keys[0])

    def __at(self, index: int, salt: bytes) -> bytes:
        slot = (index, salt)
        derived = self.__derived.get(slot)
        if derived is None:
            derived = derive(self.__api_keys[index], salt)
            if len(self.__derived) >= _REMEMBERED:
                self.__derived = {}
            self.__derived[slot] = derived
        return derived

    def __repr__(self) -> str:
        return "VaultKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault key is not serialised: it would leave this process")
