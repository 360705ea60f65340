"""rq-dashboard as people start it, judged by its JSON and by its buttons."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from rq import SimpleWorker

from cli import dashboard
from cli.__main__ import main
from easyalert.errors import ConfigurationError
from easyalert.queues import JOB_FUNCTION, QUEUE, PrimitiveSerializer, agent_queue, enqueue, queued_keys
from tests.cli.agent_process import COMMAND
from tests.support.ports import free_port
from tests.support.waiting import eventually


def test_ones_own_redis_is_shown_as_it_is(settings_of, tmp_path):
    assert dashboard.redis_url(settings_of(tmp_path, redis_url="redis://u:p@h/1")) == "redis://u:p@h/1"


def test_the_embedded_one_is_read_with_the_viewers_password(settings_of, tmp_path):
    settings = settings_of(tmp_path / "a b")
    settings.run_dir.mkdir(parents=True)
    settings.redis_viewer_password_path.write_text("p/w?")
    assert dashboard.redis_url(settings) == f"unix://viewer:p%2Fw%3F@{tmp_path}/a%20b/run/redis.sock?db=0"


def test_before_the_first_start_it_says_what_to_start(settings_of, tmp_path):
    with pytest.raises(ConfigurationError, match="easyalert-agent run"):
        dashboard.redis_url(settings_of(tmp_path))


def test_a_missing_extra_names_the_command(monkeypatch, capsys):
    monkeypatch.setattr(dashboard, "find_spec", lambda _: None)
    assert main(["dashboard"]) == 2
    assert "pip install 'rq-dashboard>=0.9'" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_that_is_none(port, capsys):
    assert main(["dashboard", f"--port={port}"]) == 2
    assert "1 to 65535" in capsys.readouterr().err


def test_no_secret_goes_along(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENT_API_KEY", "ea_agent_secret")
    assert "ea_agent_secret" not in dashboard.environment(tmp_path / "c").values()


class Page:
    """The running dashboard."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def json(self, path: str) -> dict:
        answer = self.http.get(f"/0/data/{path}.json")
        assert answer.status_code == 200, (path, answer.text[:500])
        return answer.json()


@pytest.fixture
def page(embedded):
    port = free_port()
    log = embedded.settings.state_dir / "dashboard.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [COMMAND, "dashboard", "--port", str(port)],
            env={
                "PATH": os.environ["PATH"],
                "STATE_DIR": str(embedded.settings.state_dir),
                "AGENT_API_KEY": "ea_agent_secret",
            },
            stdout=output,
            stderr=output,
            cwd=embedded.settings.state_dir,
        )
    found = Page(port, process)

    def up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return found.http.get("/").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(up, within=20, what="rq-dashboard answering")
        yield found
    finally:
        found.http.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def filled(embedded):
    """A queued job, one that is running, one that has ended, and their worker."""
    with embedded.client() as client:
        queue = agent_queue(client)
        enqueue(queue, [(f"job_{n}", f"script.bash job_{n}", 300) for n in (1, 2, 3)])
        worker = SimpleWorker([queue], connection=client, serializer=PrimitiveSerializer, name="worker-1")
        worker.register_birth()
        ended = queue.fetch_job("job_3")
        queue.remove("job_3")
        ended.set_status("finished")
        queue.finished_job_registry.add(ended, 600)
        running = queue.fetch_job("job_2")
        queue.remove("job_2")
        worker.prepare_execution(running)
        worker.prepare_job_execution(running)
        yield queue
        worker.register_death()


@pytest.mark.system
class TestPages:
    def test_everything_is_readable_and_no_button_harms(self, page, filled, embedded):
        queues = {queue["name"]: queue for queue in page.json("queues")["queues"]}
        assert (queues[QUEUE]["count"], queues[QUEUE]["started_job_registry_count"]) == (1, 1)
        assert queues[QUEUE]["finished_job_registry_count"] == 1

        (worker,) = page.json("workers")["workers"]
        assert worker["name"] == "worker-1"
        assert worker["queues"] == [QUEUE]
        assert worker["current_job"]["description"] == "script.bash job_2"
        assert worker["current_job"]["call_string"] == f"{JOB_FUNCTION}('job_2')"

        (waiting,) = page.json(f"jobs/{QUEUE}/queued/8/asc/1")["jobs"]
        assert (waiting["id"], waiting["description"]) == ("job_1", "script.bash job_1")
        for registry in ("queued", "started", "finished", "failed", "deferred", "scheduled", "canceled"):
            page.json(f"jobs/{QUEUE}/{registry}/8/asc/1")
            assert page.http.get(f"/0/view/jobs/{QUEUE}/{registry}/8/asc/1").status_code == 200
        assert page.json("job/job_1")["status"] == "queued"
        for path in ("/0/view/queues", "/0/view/workers", "/0/view/jobs", "/0/view/job/job_1"):
            assert page.http.get(path, follow_redirects=True).status_code == 200

        for method, path in (
            ("POST", f"/queue/{QUEUE}/queued/empty"),
            ("POST", f"/queue/{QUEUE}/finished/empty"),
            ("POST", f"/queue/{QUEUE}/compact"),
            ("POST", "/job/job_1/delete"),
            ("POST", "/job/job_3/requeue"),
            ("GET", f"/requeue/{QUEUE}"),
        ):
            page.http.request(method, path)
        assert queued_keys(filled) == {"job_1"}
        assert filled.finished_job_registry.get_job_ids(cleanup=False) == ["job_3"]
        assert filled.fetch_job("job_1").description == "script.bash job_1"

    def test_it_listens_on_loopback_and_shows_no_password(self, page, embedded):
        password = embedded.settings.redis_viewer_password_path.read_text()
        process = psutil.Process(page.process.pid)
        addresses = {
            connection.laddr.ip for connection in process.net_connections("inet") if connection.status == "LISTEN"
        }
        assert addresses == {"127.0.0.1"}
        assert password not in " ".join(process.cmdline())
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"ea_agent_secret" not in environment
        assert password.encode() not in environment
        assert password not in page.http.get("/").text
        assert (embedded.settings.run_dir / "rq_dashboard.cfg").stat().st_mode & 0o777 == 0o600
