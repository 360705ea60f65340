from __future__ import annotations

import pytest

from cli.looking import UNSET_URL, settings_to_look
from easyalert.errors import ConfigurationError


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("AGENT_API_URL", "AGENT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_without_url_and_key(monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "s"))
    settings = settings_to_look()
    assert settings.agent_api_url == UNSET_URL
    assert settings.state_dir == tmp_path / "s"


def test_with_both(monkeypatch):
    monkeypatch.setenv("AGENT_API_URL", "http://h")
    monkeypatch.setenv("AGENT_API_KEY", "k")
    assert settings_to_look().agent_api_url == "http://h"


def test_a_wrong_setting_is_still_said(monkeypatch):
    monkeypatch.setenv("ADMIN_PORT", "99999")
    with pytest.raises(ConfigurationError, match="ADMIN_PORT"):
        settings_to_look()
