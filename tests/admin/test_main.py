"""The process as supervisord runs it: `python -I -m admin`."""

import os
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from easyalert.audit.verify import entries
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
        assert time.monotonic() - begun < 10, "then supervisord would kill it"
    assert Vault(home.settings.vault_path, VaultKey(API_KEY)).get("conn-1") == {"password": "s3cret-value"}
    (recorded,) = entries(home.settings.audit_dir)
    assert (recorded["kind"], recorded["connectionId"], recorded["by"]) == (
        "credential.stored",
        "conn-1",
        "the admin API",
    )
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


# Short times, so that no test has to wait for the shipped ones.
IMPATIENT = "import admin.server\nadmin.server.IDLE_S = 0.2\nadmin.server._LOOK_S = 0.05\n"


def children(program):
    return psutil.Process(program.pid).children()


@pytest.fixture
def impatient(make_home):
    home = make_home("http://127.0.0.1:1", admin_port=free_port())
    with (home.folder / "impatient.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", f"{IMPATIENT}from admin.__main__ import main\nraise SystemExit(main())"],
            env={"PATH": os.environ["PATH"], **home.environment}, cwd=home.folder, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{home.settings.admin_port}"
    eventually(lambda: answers(url), what="the admin API answering")
    yield home, process, url
    process.terminate()
    assert process.wait(15) == 0
    assert "Traceback" not in (home.folder / "impatient.log").read_text()


def test_the_web_framework_is_loaded_when_somebody_connects(started):
    home, program, url = started()
    eventually(lambda: "the admin API answers on" in program.log)
    assert not children(program)
    with client(home, url) as caller:
        assert caller.get("/status").status_code == 200
        assert len(children(program)) == 1
        # both: more than one connection, and the same server for all of them
        assert answers(url)
        assert len(children(program)) == 1
    assert program.terminate() == 0


def test_an_unused_server_ends_and_the_next_one_takes_over(impatient):
    _home, process, url = impatient
    eventually(lambda: not children(process), what="the server's end")
    assert answers(url)
    assert process.poll() is None


def test_a_server_that_alone_knows_the_new_key_stays(impatient):
    home, process, url = impatient
    with client(home, url) as caller:
        assert caller.put("/connections/a", json={"v": 1}).status_code == 200
        assert caller.post("/vault/rekey", json={"newApiKey": "ea_agent_new_key"}).status_code == 200
    server = psutil.Process(process.pid).children()[0]
    with pytest.raises(psutil.TimeoutExpired):  # five times as long as an unused one stays
        server.wait(timeout=1)
    with client(home, url) as caller:
        assert caller.post("/connections/a/test").status_code == 200


def test_a_server_that_dies_is_this_programs_end(started):
    _home, program, url = started()
    eventually(lambda: answers(url), what="the admin API answering")
    children(program)[0].kill()
    assert program.wait() == 1


def test_the_server_dies_with_the_program(started):
    _home, program, url = started()
    eventually(lambda: answers(url), what="the admin API answering")
    server = children(program)[0]
    program.kill()
    assert not psutil.wait_procs([server], timeout=20)[1]
    assert not answers(url)
