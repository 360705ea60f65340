from pathlib import Path

import pytest
from pydantic import ValidationError

from controlplane.settings import ControlPlaneSettings


def test_defaults_are_private_and_loopback(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ops")
    settings = ControlPlaneSettings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.data_path == Path("/home/ops/.easyalert-controlplane")
    assert settings.url == "sqlite:////home/ops/.easyalert-controlplane/controlplane.sqlite3"


def test_environment_and_options(monkeypatch):
    monkeypatch.setenv("EASYALERT_CP_PORT", "9999")
    monkeypatch.setenv("EASYALERT_CP_DATABASE_URL", "sqlite:////x/y")
    assert ControlPlaneSettings().port == 9999
    assert ControlPlaneSettings(port=1).port == 1
    assert ControlPlaneSettings().url == "sqlite:////x/y"


@pytest.mark.parametrize("bad", [{"port": -1}, {"port": 65536}, {"log_level": "LOUD"}, {"long_poll_seconds": 0}])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValidationError):
        ControlPlaneSettings(**bad)


def test_every_setting_says_what_it_means():
    assert all(field.description for field in ControlPlaneSettings.model_fields.values())
