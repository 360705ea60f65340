import stat

import pytest

from controlplane.models.at_rest import AtRest, load_or_make_key
from easyalert.errors import ConfigurationError


def test_a_value_comes_back_for_its_row_and_key_only(tmp_path):
    sealer = AtRest(load_or_make_key(tmp_path / "secret.key"))
    sealed = sealer.seal("job_1", {"password": "s3cret-canary"})
    assert "s3cret" not in sealed
    again = AtRest(load_or_make_key(tmp_path / "secret.key"))
    assert again.open("job_1", sealed) == {"password": "s3cret-canary"}
    assert again.seal("job_1", 1) != again.seal("job_1", 1)
    for other, row in ((again, "job_2"), (AtRest(bytes(32)), "job_1")):
        with pytest.raises(LookupError):
            other.open(row, sealed)


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", None, {"plain": "object"}])
def test_whatever_was_not_sealed_here_does_not_open(text):
    with pytest.raises(LookupError):
        AtRest(bytes(32)).open("job_1", text)


def test_the_key_is_private_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "secret.key"
    assert load_or_make_key(path) == load_or_make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"torn")
    with pytest.raises(ConfigurationError, match=r"secret\.key is damaged"):
        load_or_make_key(path)
