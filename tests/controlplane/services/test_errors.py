from controlplane.api.envelope import _STATUS
from controlplane.services import errors


def kinds():
    return {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ServiceError)}


def test_every_refusal_has_its_own_token_and_status():
    concrete = kinds() - {errors.ServiceError}
    assert set(_STATUS) == concrete
    assert len({kind.code for kind in concrete}) == len(concrete)


def test_a_more_exact_token_may_be_given():
    assert errors.ConflictError("x").token == "conflict"
    assert errors.ConflictError("x", code="name_taken").token == "name_taken"
