"""Names, ranges and defaults of contract 6.1, and the promises about errors."""

import ipaddress
import os
import platform
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from easyalert.errors import ConfigurationError
from easyalert.settings import HEARTBEAT_INTERVAL_CAP_S, AgentSettings, load_settings

REQUIRED = {"AGENT_API_URL": "https://automation.example.com", "AGENT_API_KEY": "ea_agent_secret"}
NAMES = {name.upper() for name in AgentSettings.model_fields}


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def read(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def plain(value):
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


# ---- contract 6.1 ---------------------------------------------------------------------------------------------------


def test_every_variable_of_the_contract_is_known():
    assert {
        *("AGENT_API_URL", "AGENT_API_KEY", "AGENT_NAME", "POLL_INTERVAL", "HEARTBEAT_INTERVAL", "MAX_CONCURRENT_JOBS"),
        *("ADMIN_PORT", "ADMIN_TOKEN", "VAULT_PATH", "LOG_LEVEL", "ALLOW_PRIVATE_NETWORK", "ALLOW_OS_RESTART"),
    } <= NAMES


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("agent_name", platform.node()),
        ("poll_interval", 5),
        ("heartbeat_interval", 30),
        ("max_concurrent_jobs", 5),
        ("admin_port", 9191),
        ("admin_token", None),
        ("log_level", "INFO"),
        ("allow_private_network", False),
        ("allow_os_restart", False),
    ],
)
def test_defaults(name, default):
    assert getattr(load_settings(), name) == default


def test_the_vaults_default_place_and_home(tmp_path):
    settings = load_settings()
    assert settings.vault_path == tmp_path / "home/.easyalert/vault.json"
    assert settings.state_dir == tmp_path / "home/.easyalert"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("AGENT_API_URL", "http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("AGENT_API_URL", "https://example.com/prefix/", "https://example.com/prefix/"),
        ("AGENT_API_KEY", "", ""),
        ("AGENT_API_KEY", "any format", "any format"),
        ("AGENT_NAME", "prod-eu-a", "prod-eu-a"),
        ("POLL_INTERVAL", "1", 1),
        ("POLL_INTERVAL", "7200", 7200),
        ("HEARTBEAT_INTERVAL", "1", 1),
        ("HEARTBEAT_INTERVAL", "3600", HEARTBEAT_INTERVAL_CAP_S),
        ("MAX_CONCURRENT_JOBS", "1", 1),
        ("MAX_CONCURRENT_JOBS", "50", 50),
        ("ADMIN_PORT", "1", 1),
        ("ADMIN_PORT", "65535", 65535),
        ("ADMIN_TOKEN", "token", "token"),
        ("LOG_LEVEL", "verbose", "verbose"),
        ("ALLOW_PRIVATE_NETWORK", "true", True),
        ("ALLOW_PRIVATE_NETWORK", "1", True),
        ("ALLOW_PRIVATE_NETWORK", "Yes", True),
        ("ALLOW_PRIVATE_NETWORK", "on", True),
        ("ALLOW_OS_RESTART", "0", False),
        ("ALLOW_OS_RESTART", "off", False),
    ],
)
def test_accepted_values(monkeypatch, name, text, value):
    settings = read(monkeypatch, **{name: text})
    assert plain(getattr(settings, name.lower())) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AGENT_API_URL", "ftp://secret-value.example.com"),
        ("AGENT_API_URL", "secret-value.example.com"),
        ("AGENT_API_URL", ""),
        ("AGENT_API_URL", "https://"),
        ("AGENT_API_URL", "https://user:secret-value@example.com"),
        ("AGENT_API_URL", "https://example.com/?key=secret-value"),
        ("AGENT_API_URL", "https://example.com:99999/secret-value"),
        ("AGENT_API_URL", "https://example.com:secret-value"),
        ("AGENT_API_URL", "https://[secret-value"),
        ("AGENT_API_URL", "https://exa mple.com/secret-value"),
        ("AGENT_API_URL", "https://example.com/\nsecret-value"),
        ("POLL_INTERVAL", "0"),
        ("POLL_INTERVAL", "secret-value"),
        ("HEARTBEAT_INTERVAL", "0"),
        ("MAX_CONCURRENT_JOBS", "0"),
        ("MAX_CONCURRENT_JOBS", "51"),
        ("ADMIN_PORT", "0"),
        ("ADMIN_PORT", "65536"),
        ("ALLOW_OS_RESTART", "secret-value"),
        ("REDIS_URL", "http://:secret-value@127.0.0.1"),
        ("REDIS_URL", "redis://:secret-value@127.0.0.1:port"),
        ("HTTP_ALLOWED_NETWORKS", "10.0.0.0/8,secret-value"),
        ("HTTP_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("STATE_DIR", "~nobody-of-that-name/state"),
        ("VAULT_PATH", "~nobody-of-that-name/vault.json"),
        ("SHUTDOWN_GRACE_SECONDS", "-1"),
        ("LONG_POLL_SECONDS", "26"),
        ("MIN_FREE_DISK_MB", "-1"),
    ],
)
def test_a_wrong_value_names_its_variable_and_is_not_shown(monkeypatch, name, text):
    with pytest.raises(ConfigurationError) as caught:
        read(monkeypatch, **{name: text})
    sentence = str(caught.value)
    assert sentence.startswith(f"{name}: ")
    assert "\n" not in sentence
    assert "secret-value" not in sentence
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "a chained error would show the value in a traceback"


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_what_is_required_is_asked_for_by_name(monkeypatch, name):
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match=f"^{name}: is required but not set$"):
        load_settings()


def test_all_wrong_settings_are_named_in_one_line(monkeypatch):
    monkeypatch.delenv("AGENT_API_KEY")
    with pytest.raises(ConfigurationError) as caught:
        read(monkeypatch, ADMIN_PORT="x", POLL_INTERVAL="0")
    assert all(f"{name}: " in str(caught.value) for name in ("AGENT_API_KEY", "ADMIN_PORT", "POLL_INTERVAL"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(NAMES - REQUIRED.keys()))
@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_means_the_default(monkeypatch, name, blank):
    default = getattr(load_settings(), name.lower())
    assert getattr(read(monkeypatch, **{name: blank}), name.lower()) == default


def test_names_are_case_sensitive(monkeypatch):
    assert read(monkeypatch, poll_interval="99", Admin_Port="1").poll_interval == 5
    assert load_settings().admin_port == 9191


# ---- the key in a file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [None, "", "  "])
def test_the_key_is_read_from_a_file(monkeypatch, tmp_path, environment):
    (tmp_path / "key").write_text("ea_agent_from_file\n")
    monkeypatch.delenv("AGENT_API_KEY")
    if environment is not None:
        monkeypatch.setenv("AGENT_API_KEY", environment)
    assert read(monkeypatch, AGENT_API_KEY_FILE=str(tmp_path / "key")).agent_api_key.get_secret_value() == (
        "ea_agent_from_file"
    )


def test_a_key_that_is_given_wins_over_the_file(monkeypatch):
    settings = read(monkeypatch, AGENT_API_KEY_FILE="/missing")
    assert settings.agent_api_key.get_secret_value() == REQUIRED["AGENT_API_KEY"]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not text")]
)
def test_a_key_file_without_a_key_is_one_sentence(monkeypatch, tmp_path, content, reason):
    monkeypatch.delenv("AGENT_API_KEY")
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"^AGENT_API_KEY_FILE: .*{reason}"):
        read(monkeypatch, AGENT_API_KEY_FILE=str(tmp_path / "key"))


# ---- .env -----------------------------------------------------------------------------------------------------------


def test_env_file_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("POLL_INTERVAL=8\nADMIN_PORT=9000\n")
    settings = read(monkeypatch, ADMIN_PORT="9001")
    assert (settings.poll_interval, settings.admin_port) == (8, 9001)


def test_unknown_names_in_the_env_file_do_not_stop_the_agent(tmp_path):
    (tmp_path / ".env").write_text("HTTPS_PROXY=http://proxy:3128\nPOLL_INTERVAL=8\npoll_interval=9\n")
    assert load_settings().poll_interval == 8


def test_an_env_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / ".env").write_bytes(b"ADMIN_TOKEN=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"^the file \.env is not text in UTF-8$"):
        load_settings()


def test_an_env_file_that_cannot_be_read_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("POLL_INTERVAL=8\n")
    opened = Path.open

    def refuse(self, *arguments, **options):
        if self.name == ".env":
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("builtins.open", lambda *a, **k: refuse(Path(a[0]), *a[1:], **k))
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read: Permission denied"):
        load_settings()


# ---- ours -----------------------------------------------------------------------------------------------------------


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("POLL_INTERVAL", "7")
    assert load_settings(poll_interval=9).poll_interval == 9
    assert AgentSettings(poll_interval=9).poll_interval == 9


def test_the_vault_follows_the_state_directory(monkeypatch, tmp_path):
    assert read(monkeypatch, STATE_DIR=str(tmp_path / "a")).vault_path == tmp_path / "a/vault.json"
    assert read(monkeypatch, VAULT_PATH="~/v.json").vault_path == tmp_path / "home/v.json"
    assert read(monkeypatch, VAULT_PATH="v.json").vault_path == tmp_path / "v.json"


def test_allowed_networks(monkeypatch):
    networks = read(monkeypatch, HTTP_ALLOWED_NETWORKS="10.0.0.0/8, fd00::/8,").http_allowed_networks
    assert networks == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def test_secrets_are_hidden_in_text_and_listed_for_redaction(monkeypatch):
    values = {"AGENT_API_KEY": "key-1", "AGENT_API_KEY_PREVIOUS": "key-0", "ADMIN_TOKEN": "token-1"}
    settings = read(monkeypatch, **values, REDIS_URL="redis://:p%40ss-word@127.0.0.1:6379/0")
    assert {*values.values(), "p@ss-word", "p%40ss-word"} <= set(settings.secrets())
    shown = f"{settings!r} {settings}"
    assert not any(secret in shown for secret in settings.secrets())


def test_every_secret_setting_is_listed_for_redaction(monkeypatch):
    secret_names = [n for n, f in AgentSettings.model_fields.items() if "SecretStr" in str(f.annotation)]
    given = {name.upper(): f"redis://{name}" if name == "redis_url" else f"value-of-{name}" for name in secret_names}
    assert set(given.values()) <= set(read(monkeypatch, **given).secrets())


def test_every_setting_is_typed_and_described():
    for name, field in AgentSettings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert typing.get_type_hints(AgentSettings)[name] is not None


def test_a_frozen_setting_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().poll_interval = 1


@pytest.mark.system
def test_importing_the_settings_needs_no_environment():
    done = subprocess.run(
        [sys.executable, "-c", "import easyalert.settings"], env={"PATH": os.environ["PATH"]}, check=False
    )
    assert done.returncode == 0


# ---- policy and signatures ------------------------------------------------------------------------------------------

KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


def test_a_policy_file_lies_in_the_state_directory_unless_it_is_named(monkeypatch, tmp_path):
    found = read(monkeypatch, STATE_DIR=str(tmp_path / "s"))
    assert (found.policy_file, found.policy_named) == (tmp_path / "s" / "policy.toml", False)
    found = read(monkeypatch, POLICY_FILE="~/policy.toml")
    assert (found.policy_file, found.policy_named) == (tmp_path / "home" / "policy.toml", True)
    found = read(monkeypatch, POLICY_FILE=" ")
    assert found.policy_named is False


def test_signatures_are_off_unless_wanted(monkeypatch):
    found = read(monkeypatch)
    assert (found.job_signatures, found.signature_keys, found.signature_audience) == ("off", [], [])
    found = read(
        monkeypatch,
        JOB_SIGNATURES="require",
        JOB_SIGNATURE_KEYS=f" {KEY} , {KEY},",
        JOB_SIGNATURE_AUDIENCE="agt_1, pool:default",
    )
    assert (found.signature_keys, found.signature_audience) == ([KEY, KEY], ["agt_1", "pool:default"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"JOB_SIGNATURES": "yes"}, "JOB_SIGNATURES: "),
        ({"JOB_SIGNATURES": "warn"}, "needs JOB_SIGNATURE_KEYS or JOB_SIGNATURE_KEYS_FILE"),
        ({"JOB_SIGNATURES": "require", "JOB_SIGNATURE_KEYS": KEY}, "needs JOB_SIGNATURE_AUDIENCE"),
        ({"JOB_SIGNATURE_KEYS": "ssh-ed25519"}, "must be Ed25519 public keys"),
        ({"JOB_SIGNATURE_KEYS": KEY[:-4]}, "must be Ed25519 public keys"),
    ],
)
def test_half_a_trust_is_refused_at_the_start(monkeypatch, values, says):
    with pytest.raises(ConfigurationError, match=says):
        read(monkeypatch, **values)
