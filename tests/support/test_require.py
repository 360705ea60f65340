from __future__ import annotations

import pytest

from tests.support.require import require_program


def test_a_program_that_is_there():
    assert require_program("no-such-program", "sh", package="dash").endswith("/sh")


def test_a_missing_one_skips_on_a_laptop(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="package nothing"):
        require_program("no-such-program", package="nothing")


def test_a_missing_one_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI=true"):
        require_program("no-such-program", package="nothing")
