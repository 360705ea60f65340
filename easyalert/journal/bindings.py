"""Which address each credential is used for, where the vault's entry names none (`Context.bind_credential`).

The control plane names the address then, so a compromised one could have the secret sent anywhere. Therefore the first
address counts for as long as the entry stays what it is: whoever can deliver the secret anew knows it already. As with
host keys, the first use is trusted. Lost with the journal, like all that the agent remembers.
"""

from __future__ import annotations

from dataclasses import dataclass

from easyalert.journal.file import JournalFile


@dataclass(frozen=True)
class Binding:
    """`address` is where the connection's credential goes, since `at` (epoch seconds)."""

    connection_id: str
    address: str
    at: float


class CredentialBindings(JournalFile):
    """Raises JournalError."""

    def bind(self, connection_id: str, entry: str, address: str) -> Binding:
        """The binding in force: the one that stood for this `entry` (a digest), else a new one to `address`."""

        def write() -> Binding:
            with self._transaction():
                found = self._db.execute(
                    "SELECT address, at FROM bindings WHERE connection_id = ? AND entry = ?", (connection_id, entry)
                ).fetchone()
                if found is not None:
                    return Binding(connection_id, found["address"], found["at"])
                now = self._wall()
                self._db.execute(
                    "INSERT OR REPLACE INTO bindings VALUES (?, ?, ?, ?)", (connection_id, entry, address, now)
                )
                self._audit("credential.bound", {"connectionId": connection_id, "address": address})
                return Binding(connection_id, address, now)

        return self._surely(write)

    def bindings(self) -> list[Binding]:
        """All of them, by connection."""
        with self._errors():
            rows = self._db.execute("SELECT connection_id, address, at FROM bindings ORDER BY connection_id").fetchall()
        return [Binding(row["connection_id"], row["address"], row["at"]) for row in rows]

    def unbind(self, connection_id: str, *, by: str) -> Binding | None:
        """Forget where a credential goes, so that its next use decides; None: it was bound to nothing."""

        def write() -> Binding | None:
            with self._transaction():
                found = self._db.execute(
                    "DELETE FROM bindings WHERE connection_id = ? RETURNING address, at", (connection_id,)
                ).fetchone()
                if found is None:
                    return None
                told = {"connectionId": connection_id, "address": found["address"], "by": by}
                self._audit("credential.unbound", told)
                return Binding(connection_id, found["address"], found["at"])

        return self._surely(write)
