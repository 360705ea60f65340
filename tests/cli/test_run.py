"""`easyalert-agent run` whole: real supervisord, Redis and programs against a plain control plane."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from cli import lock, run
from cli.preflight import Ready
from easyalert.errors import ConfigurationError
from easyalert.journal import Journal
from tests.cli.agent_process import API_KEY
from tests.support.ports import free_port
from tests.support.waiting import eventually

PROGRAMS = ("redis", "admin", "heartbeat", "poller", "workers")


def tree_of(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


class TestConfiguration:
    def test_the_repository_brings_it(self):
        path = run.find_configuration()
        assert path.name == "supervisord.conf"
        assert "[group:agent]" in path.read_text()

    def test_a_missing_one_is_said(self, monkeypatch):
        monkeypatch.setattr(Path, "is_file", lambda _: False)
        with pytest.raises(ConfigurationError, match=r"supervisord\.conf is missing"):
            run.find_configuration()

    def test_everything_it_expands_is_set(self, settings_of, tmp_path, monkeypatch):
        import re

        for name in [name for name in os.environ if name.startswith("EASYALERT_")]:
            monkeypatch.delenv(name)
        given = run.environment(settings_of(tmp_path, shutdown_grace_seconds=7), Ready(3, "/usr/bin/redis-server"))
        wanted = set(re.findall(r"%\(ENV_(\w+)\)s", run.find_configuration().read_text()))
        assert wanted <= set(given)
        assert int(given["EASYALERT_STOP_SECONDS"]) > 7
        assert given["EASYALERT_EMBEDDED_REDIS"] == "true"
        own = run.environment(settings_of(tmp_path, redis_url="redis://h"), Ready(3, ""))
        assert own["EASYALERT_EMBEDDED_REDIS"] == "false"


@pytest.mark.system
class TestRefusals:
    """Each is one sentence and exit code 2, and nothing is left running."""

    def refused(self, agent) -> str:
        done = agent.command("run")
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert API_KEY not in done.stderr
        return done.stderr

    def test_a_wrong_setting(self, agent_on):
        assert "MAX_CONCURRENT_JOBS" in self.refused(agent_on("http://127.0.0.1:1", MAX_CONCURRENT_JOBS="51"))

    def test_a_folder_open_to_others(self, agent_on):
        agent = agent_on("http://127.0.0.1:1")
        agent.state_dir.mkdir(0o755)
        agent.state_dir.chmod(0o755)
        assert f"chmod 700 {agent.state_dir}" in self.refused(agent)

    def test_a_port_in_use(self, agent_on):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert f"port {port}" in self.refused(agent_on("http://127.0.0.1:1", ADMIN_PORT=str(port)))

    def test_no_redis_server(self, agent_on):
        assert "apt-get install" in self.refused(agent_on("http://127.0.0.1:1", PATH="/nowhere"))

    def test_a_second_agent_on_the_state_directory(self, agent_on, short_dir):
        agent = agent_on("http://127.0.0.1:1")
        agent.state_dir.mkdir(0o700)
        held = lock.hold(agent.state_dir / "agent.lock")
        assert f"pid {os.getpid()}" in self.refused(agent)
        os.close(held)


@pytest.mark.system
class TestLife:
    def test_it_polls_soon_works_and_says_offline_last(self, agent_on, plain_server):
        agent = agent_on(plain_server.url)
        agent.start()
        # 3 s on an idle machine of two cores; the tests' machine is not idle
        plain_server.wait_for(lambda: plain_server.of("poll"), within=30)
        plain_server.give({"jobId": "job_1", "actionType": "script.bash", "params": {"script": "echo hello"}})
        plain_server.wait_for(lambda: "job_1" in plain_server.results, within=20)
        assert plain_server.results["job_1"][0]["status"] == "success"
        plain_server.give({"jobId": "job_2", "actionType": "script.bash", "params": {"script": "sleep 1.5; echo done"}})
        with Journal(agent.state_dir / "journal.sqlite3") as journal:
            eventually(journal.running)
        everything = tree_of(agent.pid)
        assert agent.stop() == 0
        assert plain_server.results["job_2"][0]["status"] == "success"
        last = plain_server.seen[-1]
        assert (last.endpoint, last.document["status"]) == ("heartbeat", "offline")
        assert [r.document["status"] for r in plain_server.of("heartbeat")].count("offline") == 1
        assert plain_server.seen[0].endpoint == "register"
        eventually(lambda: not alive(everything))

    def test_the_order_of_the_end(self, agent_on, plain_server):
        agent = agent_on(plain_server.url).start()
        agent.running(*PROGRAMS)
        plain_server.wait_for(lambda: plain_server.heartbeats)
        assert agent.stop(signal.SIGINT) == 0
        stopped = [line.split("stopped: ")[1].split()[0] for line in agent.log.splitlines() if "stopped: " in line]
        stopped = [name for name in stopped if name in PROGRAMS]
        assert set(stopped[:2]) == {"poller", "workers"}
        assert stopped[2:] == ["heartbeat", "admin", "redis"]

    def test_the_terminals_end_is_the_agents_end(self, agent_on, plain_server):
        agent = agent_on(plain_server.url).start()
        agent.running()
        assert agent.stop(signal.SIGHUP) == 0

    def test_each_program_comes_back_after_a_kill(self, agent_on, plain_server):
        agent = agent_on(plain_server.url).start()
        before = agent.running(*PROGRAMS)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not set(agent.table_pids().values()) & set(before.values()))
        after = agent.running(*PROGRAMS)
        assert not set(after.values()) & set(before.values())
        plain_server.give({"jobId": "job_1", "actionType": "script.bash", "params": {"script": "echo hello"}})
        plain_server.wait_for(lambda: "job_1" in plain_server.results, within=20)

    @pytest.mark.parametrize("moment", ["while they import", "while they run"])
    def test_nothing_survives_supervisords_kill(self, agent_on, plain_server, moment):
        agent = agent_on(plain_server.url).start()
        if moment == "while they run":
            agent.running(*PROGRAMS)
        else:
            eventually(lambda: agent.log.count("spawned: ") == len(PROGRAMS))
        everything = tree_of(agent.pid)
        assert len(everything) > len(PROGRAMS)
        agent.process.kill()
        agent.process.wait()
        end = time.monotonic() + 3
        while (left := alive(everything)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not [process.cmdline() for process in left], agent.log
        # and the next start is as any other
        agent.start()
        agent.running(*PROGRAMS)

    def test_a_second_one_is_refused_while_it_runs(self, agent_on, plain_server):
        agent = agent_on(plain_server.url).start()
        agent.running("redis")
        done = agent.command("run", ADMIN_PORT=str(free_port()))
        assert done.returncode == 2
        assert f"pid {agent.pid}" in done.stderr

    def test_no_secret_in_any_command_line_nor_in_redis(self, agent_on, plain_server):
        agent = agent_on(plain_server.url).start()
        agent.running(*PROGRAMS)
        secrets = [API_KEY, agent.environment["ADMIN_TOKEN"]]
        secrets += [
            (agent.state_dir / "run" / name).read_text() for name in ("redis_password", "redis_viewer_password")
        ]
        for process in tree_of(agent.pid):
            assert not [s for s in secrets if s in " ".join(process.cmdline())]
        environment = Path(f"/proc/{agent.table_pids()['redis']}/environ").read_bytes()
        assert not [s for s in secrets if s.encode() in environment]
        assert not [s for s in secrets if s in agent.log]

    def test_programs_share_supervisords_memory_and_show_their_own_names(self, agent_on, plain_server):
        agent = agent_on(plain_server.url).start()
        pids = agent.running(*PROGRAMS)
        own = psutil.Process(agent.pid).cmdline()
        assert own[5] == "cli.supervise"
        for name in ("admin", "heartbeat", "poller", "workers"):
            assert [part for part in psutil.Process(pids[name]).cmdline() if part] == [own[0], "-I", "-m", name]
            # forked, not executed: what is laid out at random at an exec lies where it lies in supervisord
            places = [Path(f"/proc/{pid}/maps").read_text().splitlines()[0] for pid in (agent.pid, pids[name])]
            assert places[0] == places[1]

    def test_with_a_redis_of_ones_own(self, agent_on, plain_server, redis_server):
        agent = agent_on(plain_server.url, REDIS_URL=redis_server.url).start()
        agent.running("admin", "heartbeat", "poller", "workers")
        assert agent.table()["redis"]["statename"] == "STOPPED"
        plain_server.give({"jobId": "job_1", "actionType": "script.bash", "params": {"script": "echo hello"}})
        plain_server.wait_for(lambda: "job_1" in plain_server.results, within=20)

    def test_under_systemd_where_its_output_is_a_socket(self, agent_on, plain_server):
        agent = agent_on(plain_server.url)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                agent.start(output=theirs)
            agent.running(*PROGRAMS)
            plain_server.wait_for(lambda: plain_server.of("poll"), within=20)
            assert agent.stop() == 0
            ours.settimeout(5)
            with ours.makefile(errors="replace") as lines:
                text = lines.read()
        assert "registered as agt_1" in text
        assert "stopped: redis" in text.splitlines()[-1]

    def test_a_damaged_journal_is_set_aside_and_the_agent_runs(self, agent_on, plain_server):
        agent = agent_on(plain_server.url)
        agent.state_dir.mkdir(0o700)
        (agent.state_dir / "journal.sqlite3").write_bytes(b"no database" * 1000)
        agent.start()
        agent.running(*PROGRAMS)
        assert list(agent.state_dir.glob("journal.sqlite3.damaged-*"))
        assert "is kept as" in agent.log
