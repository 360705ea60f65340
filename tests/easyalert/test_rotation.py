import pytest

from easyalert.errors import VaultError, VaultUnavailable
from easyalert.rotation import Rotation
from easyalert.sealing import load_private_key
from easyalert.settings import AgentSettings
from tests.support.agent_home import API_KEY
from vault import Vault, VaultKey


@pytest.fixture
def home(make_home):
    return make_home("https://x.example")


@pytest.fixture
def store(home):
    store = Vault(home.settings.vault_path, VaultKey(API_KEY))
    store.put("a", {"v": 1})
    return store


def opens(home, key):
    return load_private_key(home.settings.agent_key_path, [key]) is not None


def test_rekey_takes_vault_and_key_file_along_and_again(home, store):
    public = home.settings.agent_key_path.read_bytes()
    rotation = Rotation(home.settings, store)
    assert rotation.rekey("ea_agent_second") == 1
    assert rotation.rekey("ea_agent_third") == 1
    assert Vault(home.settings.vault_path, VaultKey("ea_agent_third")).get("a") == {"v": 1}
    assert opens(home, "ea_agent_third")
    assert not opens(home, API_KEY)
    assert home.settings.agent_key_path.read_bytes() != public
    assert not list(home.folder.glob("agent_key.json.*"))


def test_a_refused_rekey_leaves_the_key_file(home, store):
    with pytest.raises(VaultError):
        Rotation(home.settings, store).rekey("")
    assert opens(home, API_KEY)


@pytest.mark.parametrize("content", [None, b"{", b"{}"])
def test_a_missing_or_damaged_key_file_does_not_stop_the_vaults_rekey(home, store, content, caplog):
    path = home.settings.agent_key_path
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert Rotation(home.settings, store).rekey("ea_agent_second") == 1
    assert path.exists() is (content is not None)
    assert ("AGENT_API_KEY_PREVIOUS" in caplog.text) is (content is not None)


def test_a_key_file_of_another_key_is_not_replaced(home, store):
    settings = AgentSettings(_env_file=None, **(home.values | {"agent_api_key": "ea_agent_else"}))
    before = home.settings.agent_key_path.read_bytes()
    Rotation(settings, store).rekey("ea_agent_second")
    assert home.settings.agent_key_path.read_bytes() == before


def test_start_finishes_a_rotation(home, store, caplog):
    caplog.set_level("INFO")
    Rotation(home.settings, Vault(home.settings.vault_path, VaultKey("ea_agent_new", API_KEY))).finish()
    assert Vault(home.settings.vault_path, VaultKey("ea_agent_new")).get("a") == {"v": 1}
    assert "1 vault entries" in caplog.text


def test_a_rotation_that_cannot_be_finished_is_said_and_stops_nothing(home, store, monkeypatch, caplog):
    def unavailable():
        raise VaultUnavailable("the disk is full")

    monkeypatch.setattr(store, "finish_rotation", unavailable)
    Rotation(home.settings, store).finish()
    assert "the disk is full" in caplog.text
