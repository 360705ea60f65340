"""Operators' tokens: made on the command line, stored hashed, each with one scope."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from controlplane.models.tables import OperatorToken
from controlplane.services import keys
from controlplane.services.errors import InvalidError, UnauthorizedError
from controlplane.services.ids import new_id

# Made once: this runs in every request of an operator.
_FIND = select(OperatorToken.id, OperatorToken.scope).where(OperatorToken.token_hash == bindparam("digest"))


class Scope(IntEnum):
    """What a token may do; each scope includes those below it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Scope:
        """The scope of that name. Raises InvalidError."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise InvalidError(f"scope '{name}' does not exist: use viewer, operator or admin") from None


def create_token(session: Session, now: float, *, name: str, scope: Scope) -> tuple[OperatorToken, str]:
    """A new token: its row, and the text that is shown once."""
    text = keys.new_operator_token()
    row = OperatorToken(
        id=new_id("tok", now), name=name, scope=scope.name.lower(), token_hash=keys.digest(text), created_at=now
    )
    session.add(row)
    return row, text


def find_token(session: Session, text: str) -> tuple[str, Scope]:
    """Id and scope of a token. Raises UnauthorizedError."""
    row = None
    if keys.is_operator_token(text):
        row = session.execute(_FIND, {"digest": keys.digest(text)}).one_or_none()
    if row is None:
        raise UnauthorizedError(
            "this token is not known: make one with 'easyalert-controlplane token create --scope operator'"
        )
    return row.id, Scope.named(row.scope)
