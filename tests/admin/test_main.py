"""The process as supervisord runs it: `python -I -m admin`."""

import socket
import time

import httpx
import pytest

from tests.support.agent_home import API_KEY
from tests.support.ports import free_port
from tests.support.waiting import eventually
from vault import Vault, VaultKey

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def cheap_derivation():
    """Override the folder's: the process derives in earnest."""


@pytest.fixture
def started(make_home):
    def start(**settings):
        # Nothing listens there: the control plane is away, and has never known this agent.
        home = make_home(f"http://127.0.0.1:{free_port()}", admin_port=free_port(), **settings)
        return home, home.start("admin"), f"http://127.0.0.1:{home.settings.admin_port}"

    return start


def answers(url):
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def client(home, url):
    token = home.settings.admin_token_path.read_text()
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False)


def test_it_works_unregistered_and_without_a_control_plane_and_ends_at_once(started):
    home, program, url = started()
    eventually(lambda: answers(url), what="the admin API answering")
    with client(home, url) as caller:
        assert caller.put("/connections/conn-1", json={"password": "s3cret-value"}).status_code == 200
        assert caller.get("/connections").json()["data"] == ["conn-1"]
        status = caller.get("/status").json()["data"]
        assert (status["registered"], status["controlPlane"]["state"], status["vault"]["state"]) == (
            False,
            "unreachable",
            "ok",
        )
        begun = time.monotonic()
        assert program.terminate() == 0
        assert time.monotonic() - begun < 3
    assert Vault(home.settings.vault_path, VaultKey(API_KEY)).get("conn-1") == {"password": "s3cret-value"}
    token = home.settings.admin_token_path.read_text()
    for secret in ("s3cret", token, API_KEY, "Traceback"):
        assert secret not in program.log


def test_a_rotation_is_finished_at_start_and_the_vaults_state_noted(make_home):
    home = make_home(
        "http://127.0.0.1:1",
        admin_port=free_port(),
        agent_api_key="ea_agent_after_rotation",
        agent_api_key_previous=API_KEY,
    )
    Vault(home.settings.vault_path, VaultKey(API_KEY)).put("a", {"v": 1})
    program = home.start("admin")

    def noted():
        with home.journal() as journal:
            return journal.note("vault")

    eventually(lambda: "rotation of the API key is finished" in program.log)
    assert Vault(home.settings.vault_path, VaultKey("ea_agent_after_rotation")).get("a") == {"v": 1}
    assert eventually(noted) == {"state": "ok"}
    assert program.terminate() == 0


def test_a_taken_port_is_a_sentence_and_no_end(started):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        home, program, _url = started()
        program.kill()
        home.values["admin_port"] = port
        second = home.start("admin")
        eventually(lambda: f"port {port} on 127.0.0.1 is taken" in second.log)
        assert second.running
        assert second.terminate() == 0
        assert "Traceback" not in second.log


def test_a_wrong_setting_is_a_sentence_and_exit_2(started):
    _home, program, _url = started(agent_api_key="k")
    program.kill()
    _home.values["admin_port"] = "none"
    second = _home.start("admin")
    assert second.wait() == 2
    assert "ADMIN_PORT" in second.log
    assert "Traceback" not in second.log
