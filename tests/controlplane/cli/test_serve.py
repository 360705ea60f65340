"""The server as a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from controlplane.cli import exits
from easyalert.protocol import paths
from tests.support.processes import Program
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture
def start(tmp_path):
    programs = []

    def start(*arguments):
        log = tmp_path / f"log-{len(programs)}"
        options = ("serve", "--data-dir", str(tmp_path / "data"), *arguments)
        programs.append(Program("controlplane", {"HOME": str(tmp_path)}, log=log, arguments=options))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def url_of(program):
    found = eventually(
        lambda: re.search(r"^listening on (http://\S+)$", program.log, re.MULTILINE) or not program.running,
        within=30,
        what="the server",
    )
    assert found is not True, program.log
    return found[1]


def command(tmp_path, *arguments):
    options = [*arguments, "--json", "--data-dir", str(tmp_path / "data")]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-I", "-m", "controlplane", *options], env=environment, capture_output=True, check=True
    )
    return json.loads(done.stdout)


def test_serves_on_a_free_port_beside_the_command_line_and_stops_at_once(start, tmp_path):
    program = start("--port", "0")
    url = url_of(program)
    assert url.startswith("http://127.0.0.1:")
    token = command(tmp_path, "token", "create", "--scope", "admin")["token"]
    agent = command(tmp_path, "agents", "create", "edge-1")
    key = {paths.API_KEY_HEADER: agent["apiKey"]}
    with httpx.Client(base_url=url, headers=key, timeout=30, trust_env=False) as client, ThreadPoolExecutor(1) as pool:
        body = {"hostname": "h", "agentName": "n", "version": "1", "platform": "L", "architecture": "x"}
        answer = client.post(paths.REGISTER, json={**body, "features": ["longPoll", "ack", "receipts"]})
        assert answer.json()["data"]["agentId"] == agent["id"]
        polled = pool.submit(client.get, paths.JOBS, params={"wait": 25})
        operator = {"Authorization": f"Bearer {token}"}
        seen = httpx.get(f"{url}/api/v1/agents/{agent['id']}", headers=operator, trust_env=False).json()["data"]
        assert seen["status"] == "online"
        for _ in range(20):  # round trips enough for the poll to be waiting
            httpx.get(f"{url}/healthz", trust_env=False)
        begun = time.monotonic()
        assert program.terminate() == exits.OK
        assert time.monotonic() - begun < 20, "long polls are let go, not waited for 25 s"
        assert polled.result(20).json()["data"] == []
    assert "Traceback" not in program.log
    assert agent["apiKey"] not in program.log


def test_state_survives_a_kill(start, tmp_path):
    token = command(tmp_path, "token", "create", "--scope", "admin")["token"]
    operator = {"Authorization": f"Bearer {token}"}
    first = start("--port", "0")
    url = url_of(first)
    httpx.post(f"{url}/api/v1/agents", json={"name": "a"}, headers=operator, trust_env=False)
    job = httpx.post(f"{url}/api/v1/jobs", json={"actionType": "script.bash"}, headers=operator, trust_env=False).json()
    first.kill()
    url = url_of(start("--port", "0"))
    seen = httpx.get(f"{url}/api/v1/jobs/{job['data']['id']}", headers=operator, trust_env=False).json()["data"]
    assert seen["status"] == "pending"


def test_port_in_use(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start("--port", str(port))
        assert program.wait(30) == exits.ADDRESS_UNAVAILABLE
    assert f"port {port} on 127.0.0.1 is in use" in program.log
    assert "Traceback" not in program.log


def test_a_foreign_address(start):
    program = start("--port", "0", "--host", "192.0.2.1")
    assert program.wait(30) == exits.ADDRESS_UNAVAILABLE
    assert "--host" in program.log
    assert "Traceback" not in program.log


def test_a_second_server_on_one_folder(start):
    url_of(start("--port", "0"))
    second = start("--port", "0")
    assert second.wait(30) == exits.ALREADY_RUNNING
    assert "already serves" in second.log


def test_interrupt_is_a_stop_too(start):
    program = start("--port", "0")
    url_of(program)
    os.kill(program.pid, signal.SIGINT)
    assert program.wait() == exits.OK
    assert "Traceback" not in program.log
