import pytest

from admin.answers import _VAULT_STATUS, failure
from easyalert import errors


def test_every_kind_of_vault_error_has_its_status():
    def kinds(kind):
        return {kind}.union(*(kinds(below) for below in kind.__subclasses__()))

    assert set(_VAULT_STATUS) == kinds(errors.VaultError)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_the_form_of_a_failure(status):
    answer = failure(status, "what happened", {"Retry-After": "5"})
    assert answer.status_code == status
    assert answer.body == b'{"success":false,"error":"what happened"}'
    assert answer.headers["retry-after"] == "5"
