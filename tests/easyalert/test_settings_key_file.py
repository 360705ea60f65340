"""AGENT_API_KEY_FILE: the key in a file, as containers hand secrets over."""

from __future__ import annotations

import pytest

from easyalert.errors import ConfigurationError
from easyalert.settings import load_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no `.env` of the developer
    monkeypatch.delenv("AGENT_API_KEY", raising=False)
    monkeypatch.setenv("AGENT_API_URL", "https://automation.example.com")
    monkeypatch.setenv("AGENT_API_KEY_FILE", str(tmp_path / "key"))


def key():
    return load_settings().agent_api_key.get_secret_value()


@pytest.mark.parametrize("variable", [None, "", "  "])
def test_the_file_is_read_when_the_variable_says_nothing(monkeypatch, tmp_path, variable):
    (tmp_path / "key").write_text("ea_agent_of_the_file\n")
    if variable is not None:
        monkeypatch.setenv("AGENT_API_KEY", variable)
    assert key() == "ea_agent_of_the_file"


def test_the_variable_wins(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("ea_agent_of_the_file")
    monkeypatch.setenv("AGENT_API_KEY", "ea_agent_of_the_variable")
    assert key() == "ea_agent_of_the_variable"


def test_a_key_from_the_file_is_redacted_like_any_other(tmp_path):
    (tmp_path / "key").write_text("ea_agent_of_the_file")
    assert "ea_agent_of_the_file" in load_settings().secrets()


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff", "is not text")]
)
def test_a_file_without_a_key_is_named(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"AGENT_API_KEY_FILE: .*{reason}"):
        load_settings()
