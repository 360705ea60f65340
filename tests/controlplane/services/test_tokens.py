import pytest

from controlplane.models.tables import OperatorToken
from controlplane.services import tokens
from controlplane.services.errors import InvalidError, UnauthorizedError
from controlplane.services.tokens import Scope


def test_a_token_is_found_by_its_text_and_stored_hashed(world):
    row, text = world.write(lambda s, now: tokens.create_token(s, now, name="ci", scope=Scope.OPERATOR))
    assert world.read(lambda s, _now: tokens.find_token(s, text)) == (row.id, Scope.OPERATOR)
    assert text not in repr(vars(world.row(OperatorToken, row.id)))


@pytest.mark.parametrize("bad", ["", "x", "ea_op_", "ea_op_" + "a" * 49, "\ud800"])
def test_unknown_tokens(world, bad):
    with pytest.raises(UnauthorizedError, match="token create"):
        world.read(lambda s, _now: tokens.find_token(s, bad))


def test_scopes_are_ordered():
    assert Scope.VIEWER < Scope.OPERATOR < Scope.ADMIN
    assert Scope.named("admin") is Scope.ADMIN
    with pytest.raises(InvalidError, match="viewer, operator or admin"):
        Scope.named("root")
