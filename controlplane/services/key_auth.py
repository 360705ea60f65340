"""Who is calling: from an agent's key to the agent, cheap when it is good, cheap for us when it is bad.

Order: form and checksum → row by look-up prefix → cache of verified keys → failure bucket → bcrypt. The row is read
every time, so a rotated, disabled or deleted key acts on the next request of every process; the cache only spares the
slow hash.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from controlplane.models.tables import Agent, AgentKey
from controlplane.services import keys
from controlplane.services.errors import ThrottledError, UnauthorizedError
from controlplane.services.instances import NOBODY, Holder

CACHE_ENTRIES = 1_000
CACHE_S = 300.0
FAILURES_BURST = 5
"""Wrong secrets under one look-up prefix that are checked at once …"""
FAILURES_PER_S = 0.5
"""… and how fast that allowance comes back."""


# Made once, and columns instead of rows: this runs in every request, and an agent's row carries its last heartbeat.
_HOLDER = (
    Agent.instance,
    Agent.instance_host,
    Agent.instance_since,
    Agent.last_heartbeat_at,
    Agent.said_offline,
)
_FIND = (
    select(AgentKey.hash, AgentKey.expires_at, Agent.id, Agent.pool_id, Agent.features, Agent.key_version, *_HOLDER)
    .join(Agent, Agent.id == AgentKey.agent_id)
    .where(AgentKey.prefix == bindparam("prefix"))
)


@dataclass(frozen=True)
class AgentIdentity:
    """The agent a key belongs to, as read in this request."""

    agent_id: str
    pool_id: str
    features: tuple[str, ...]
    holder: Holder = NOBODY
    """Which running agent holds the key."""


@dataclass(frozen=True)
class KeyCheck:
    """A key whose row was found; `verified` says whether the slow hash can be spared."""

    identity: AgentIdentity
    prefix: str
    hashed: str
    version: int
    verified: bool


class KeyCache:
    """Verified keys by their digest, never by themselves. Safe to use from several threads."""

    def __init__(self, entries: int = CACHE_ENTRIES, ttl_s: float = CACHE_S) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[str, int, float]] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def holds(self, digest: str, hashed: str, version: int, now: float) -> bool:
        """Whether this key was verified against this very hash and version, not too long ago."""
        with self._lock:
            entry = self._found.get(digest)
            if entry is None:
                return False
            if entry[:2] != (hashed, version) or entry[2] <= now:
                del self._found[digest]
                return False
            self._found.move_to_end(digest)
            return True

    def put(self, digest: str, hashed: str, version: int, now: float) -> None:
        """Remember a verified key. Lifetimes are spread, so that a fleet does not come back to bcrypt at once."""
        with self._lock:
            self._found[digest] = (hashed, version, now + self._ttl_s * random.uniform(0.8, 1.0))  # noqa: S311 - spread, no secret
            self._found.move_to_end(digest)
            while len(self._found) > self._entries:
                self._found.popitem(last=False)

    def take_allowance(self, prefix: str, now: float) -> bool:
        """Use up one check under this prefix; False when there is none left."""
        with self._lock:
            left, since = self._failures.pop(prefix, (float(FAILURES_BURST), now))
            left = min(FAILURES_BURST, left + max(0.0, now - since) * FAILURES_PER_S)
            granted = left >= 1
            self._failures[prefix] = (left - 1 if granted else left, now)
            while len(self._failures) > self._entries:
                self._failures.popitem(last=False)
            return granted

    def forgive(self, prefix: str) -> None:
        """A good key: give its check back."""
        with self._lock:
            self._failures.pop(prefix, None)


def find_key(session: Session, cache: KeyCache, key: str | None, now: float) -> KeyCheck:
    """The row of a well-formed key. Raises UnauthorizedError, for a malformed one without touching the database."""
    prefix = keys.lookup_prefix(key) if key else None
    if key is None or prefix is None:
        raise malformed_key()
    row = session.execute(_FIND, {"prefix": prefix}).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        raise _refused()
    holder = Holder(row.instance, row.instance_host, row.instance_since, row.last_heartbeat_at, row.said_offline)
    identity = AgentIdentity(row.id, row.pool_id, tuple(row.features), holder)
    verified = cache.holds(keys.digest(key), row.hash, row.key_version, now)
    return KeyCheck(identity, prefix, row.hash, row.key_version, verified)


def verify_slowly(cache: KeyCache, key: str, check: KeyCheck, now: float) -> AgentIdentity:
    """Check the key against its hash (0.07 s of CPU). Raises UnauthorizedError or ThrottledError.

    The caller lets only a few of these run at a time, and one per key.
    """
    digest = keys.digest(key)
    if cache.holds(digest, check.hashed, check.version, now):
        return check.identity
    if not cache.take_allowance(check.prefix, now):
        raise ThrottledError("too many wrong keys with this look-up part; try again in a moment", retry_after=2)
    if not keys.verify_key(key, check.hashed):
        raise _refused()
    cache.forgive(check.prefix)
    cache.put(digest, check.hashed, check.version, now)
    return check.identity


def malformed_key() -> UnauthorizedError:
    """No key, or not one of ours."""
    return UnauthorizedError(
        "the header X-Agent-Api-Key holds no agent key (ea_agent_…): copy the whole key, "
        "or make a new one with regenerate-key"
    )


def _refused() -> UnauthorizedError:
    return UnauthorizedError(
        "this agent key is not (or no longer) accepted: the agent was deleted or its key regenerated; "
        "put the new key into AGENT_API_KEY"
    )
