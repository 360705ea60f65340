"""The vault: credentials of this machine, encrypted on its disk and nowhere else (contract 4).

What belongs here: the file format, the key, locks and durable replacement of one file.
It imports the standard library, `cryptography` and `easyalert.errors`. No network, no Redis, no settings, no logging
set-up may ever come in: whoever opens a vault passes it a path and a key.

Promises: a wrong key never writes; a damaged file is never written over; a damaged entry stays as it is and hurts no
other; a crash at any point of a write leaves the old file or the new one.
"""

from vault.identifiers import check_connection_id
from vault.key import VaultKey
from vault.state import VaultState
from vault.store import Vault

__all__ = ["Vault", "VaultKey", "VaultState", "check_connection_id"]
