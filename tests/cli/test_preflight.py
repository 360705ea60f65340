from __future__ import annotations

import json
import os
import socket

import pytest

import easyalert.instance
from cli import embedded_redis, preflight
from easyalert.delivery_key import ensure_delivery_key, public_delivery_key
from easyalert.errors import ConfigurationError, StateDirectoryInUse
from easyalert.instance import instance_of
from easyalert.journal import Journal, State
from easyalert.sealing import load_private_key
from tests.poller.conftest import new_job
from tests.support.ports import free_port
from vault import Vault, VaultKey

OLD, NEW = "ea_agent_old_key", "ea_agent_new_key"


@pytest.fixture(autouse=True)
def server_found(monkeypatch):
    monkeypatch.setattr(embedded_redis, "find_server", lambda: "/usr/bin/redis-server")


@pytest.fixture
def ready_on(settings_of, short_dir):
    """Runs the checks with these settings, and lets go of the lock."""

    def run(**more):
        settings = settings_of(short_dir / "state", **{"admin_port": free_port(), **more})
        ready = preflight.check(settings)
        os.close(ready.lock)
        return settings, ready

    return run


def test_everything_is_ready(ready_on):
    settings, ready = ready_on()
    assert ready.redis_server == "/usr/bin/redis-server"
    assert (settings.run_dir / "redis.conf").exists()
    assert settings.journal_path.stat().st_mode & 0o777 == 0o600
    assert load_private_key(settings.agent_key_path, [settings.agent_api_key.get_secret_value()])


def test_a_redis_of_ones_own_needs_no_server(ready_on, monkeypatch):
    monkeypatch.setattr(embedded_redis, "find_server", None)
    settings, ready = ready_on(redis_url="redis://127.0.0.1")
    assert ready.redis_server == ""
    assert not (settings.run_dir / "redis.conf").exists()


def test_leftover_sockets_are_removed(ready_on):
    settings, _ = ready_on()
    for path in (settings.redis_socket, settings.supervisor_socket, settings.wakeup_socket):
        path.write_text("")
    ready_on()
    assert not [p for p in (settings.redis_socket, settings.supervisor_socket, settings.wakeup_socket) if p.exists()]


def test_nothing_of_the_last_run_is_taken_for_true(ready_on):
    settings, _ = ready_on()
    with Journal(settings.journal_path) as journal:
        for name in preflight.NOTES_OF_A_RUN:
            journal.leave_note(name, {"agentId": "agt_old"})
        journal.leave_note("capabilities", ["script"])
        ready_on()
        assert [journal.note(name) for name in preflight.NOTES_OF_A_RUN] == [None] * len(preflight.NOTES_OF_A_RUN)
        assert journal.note("capabilities") == ["script"]


def test_a_second_start_changes_nothing_of_value(ready_on):
    settings, _ = ready_on()
    key = settings.agent_key_path.read_bytes()
    ready_on()
    assert settings.agent_key_path.read_bytes() == key


def test_the_delivery_key_is_there_before_the_programs_and_stays_over_a_rotation(ready_on):
    settings, _ = ready_on(agent_api_key=OLD)
    key = settings.delivery_key_path.read_bytes()
    ready_on(agent_api_key=NEW, agent_api_key_previous=OLD)
    assert settings.delivery_key_path.read_bytes() == key
    ensure_delivery_key(settings.delivery_key_path, load_private_key(settings.agent_key_path, [NEW]))
    assert settings.delivery_key_path.read_bytes() == key, "it opens"
    settings.delivery_key_path.unlink()
    ready_on(agent_api_key=NEW)
    made = settings.delivery_key_path.read_bytes()
    assert public_delivery_key(settings.delivery_key_path)
    ready_on(agent_api_key="ea_agent_of_nobody_we_know")
    assert settings.delivery_key_path.read_bytes() != made, "the key pair it belonged to is lost"


def test_a_delivery_key_that_cannot_be_written_keeps_no_agent_from_starting(ready_on, caplog, monkeypatch):
    def full(*_):
        raise ConfigurationError("No space left on device")

    monkeypatch.setattr(preflight, "ensure_delivery_key", full)
    settings, _ = ready_on()
    assert not settings.delivery_key_path.exists()
    assert "nothing can be sealed to this agent: No space left" in caplog.text


def test_a_running_agent_is_left_alone(settings_of, short_dir):
    settings = settings_of(short_dir / "state", admin_port=free_port())
    first = preflight.check(settings)
    password = settings.redis_password_path.read_text()
    with pytest.raises(StateDirectoryInUse):
        preflight.check(settings)
    assert settings.redis_password_path.read_text() == password
    os.close(first.lock)


def test_a_port_in_use_names_port_and_setting(ready_on):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} .*ss -ltnp.*ADMIN_PORT"):
            ready_on(admin_port=port)


def test_a_rotated_key_opens_vault_and_key_pair_again(ready_on):
    settings, _ = ready_on(agent_api_key=OLD)
    public = json.loads(settings.agent_key_path.read_bytes())["publicKey"]
    Vault(settings.vault_path, VaultKey(OLD)).put("conn-1", {"password": "s3cret"})
    ready_on(agent_api_key=NEW, agent_api_key_previous=OLD)
    assert Vault(settings.vault_path, VaultKey(NEW)).get("conn-1") == {"password": "s3cret"}
    assert json.loads(settings.agent_key_path.read_bytes())["publicKey"] == public
    assert load_private_key(settings.agent_key_path, [NEW])


def test_a_vault_that_cannot_be_opened_keeps_no_agent_from_starting(ready_on, caplog):
    settings, _ = ready_on(agent_api_key=OLD)
    Vault(settings.vault_path, VaultKey("ea_agent_quite_another")).put("conn-1", {"password": "s3cret"})
    before = settings.vault_path.read_bytes()
    ready_on(agent_api_key=NEW, agent_api_key_previous=OLD)
    assert settings.vault_path.read_bytes() == before
    assert str(settings.vault_path) in caplog.text


def test_a_changed_key_without_the_previous_one_is_said(ready_on, caplog):
    ready_on(agent_api_key=OLD)
    ready_on(agent_api_key=NEW)
    assert "AGENT_API_KEY_PREVIOUS" in caplog.text


# ---- which running agent this is ------------------------------------------------------------------------------------


def permitted(settings):
    """A job that may start."""
    with Journal(settings.journal_path) as journal:
        journal.take([new_job("job_1", attempt=1, needs_ack=True, lease_s=60.0)])
        journal.acknowledge(["job_1"])


def state(settings):
    with Journal(settings.journal_path) as journal:
        return journal.get("job_1").state


def test_a_restart_keeps_its_name_and_its_permits(ready_on):
    settings, _ = ready_on()
    name = instance_of(settings.instance_path)
    permitted(settings)
    ready_on()
    assert instance_of(settings.instance_path) == name
    assert state(settings) is State.QUEUED


def test_a_clone_or_a_boot_has_to_ask_for_its_permits_again(ready_on, monkeypatch):
    """The one cannot be told from the other here, and the control plane knows who holds the key."""
    settings, _ = ready_on()
    permitted(settings)
    monkeypatch.setattr(easyalert.instance, "boot_id", lambda: "another boot")
    ready_on()
    assert state(settings) is State.TAKEN
    permitted(settings)
    ready_on()
    assert state(settings) is State.QUEUED, "the second start within that boot"


def test_a_deleted_journal_makes_no_other_agent(ready_on):
    settings, _ = ready_on()
    name = instance_of(settings.instance_path)
    for file in settings.state_dir.glob("journal.sqlite3*"):
        file.unlink()
    ready_on()
    assert instance_of(settings.instance_path) == name
