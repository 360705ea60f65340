from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.redis_server import QUICK_EXITS, WINDOW_S, keeps_exiting, set_aside
from easyalert.queues import agent_queue, enqueue, queued_keys
from easyalert.runtime import start_ticks
from tests.cli.redis_process import EmbeddedRedis
from tests.support.waiting import eventually


def test_starts_in_quick_succession_are_noticed_once(tmp_path):
    path = tmp_path / "starts.json"
    moments = iter([0.0, 1.0, 3.0, 3.1])
    answers = [keeps_exiting(path, lambda: next(moments)) for _ in range(4)]
    assert answers == [False] * QUICK_EXITS + [True, False]


def test_starts_far_apart_are_normal(tmp_path):
    path = tmp_path / "starts.json"
    moments = iter([0.0, WINDOW_S, 2 * WINDOW_S, 3 * WINDOW_S])
    assert not any(keeps_exiting(path, lambda: next(moments)) for _ in range(4))


@pytest.mark.parametrize("content", ["", "{", "[null]", "7", '["a"]', "[1e99]"])
def test_a_damaged_record_is_no_record(tmp_path, content):
    (tmp_path / "starts.json").write_text(content)
    assert not keeps_exiting(tmp_path / "starts.json", lambda: 5.0)


def test_a_full_disk_is_no_damage(tmp_path):
    assert not any(keeps_exiting(tmp_path / "missing" / "starts.json", lambda: 5.0) for _ in range(5))


def test_set_aside_keeps_the_last_damaged_state(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "appendonlydir").mkdir()
        (tmp_path / "appendonlydir" / "a.aof").write_text(content)
        set_aside(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["damaged"]
    assert (tmp_path / "damaged" / "appendonlydir" / "a.aof").read_text() == "second"


@pytest.mark.system
class TestProgram:
    def test_it_has_none_of_the_agents_secrets(self, embedded):
        for name in ("environ", "cmdline"):
            shown = Path(f"/proc/{embedded.process.pid}/{name}").read_bytes()
            assert shown
            assert b"ea_agent_secret" not in shown
            assert embedded.settings.redis_password_path.read_bytes() not in shown

    def test_what_is_queued_survives_a_kill_and_a_torn_tail(self, embedded):
        with embedded.client() as client:
            for n in range(50):
                enqueue(agent_queue(client), [(f"job_{n}", "x", 300)])
        embedded.kill()
        (increment,) = embedded.settings.redis_dir.glob("appendonlydir/*.incr.aof")
        os.truncate(increment, increment.stat().st_size - 7)
        embedded.start()
        with embedded.client() as client:
            assert len(queued_keys(agent_queue(client))) >= 40

    def test_files_that_keep_it_from_starting_are_set_aside(self, short_dir, settings_of):
        server = EmbeddedRedis(settings_of(short_dir / "state"))
        folder = server.settings.redis_dir / "appendonlydir"
        folder.mkdir()
        (folder / "appendonly.aof.manifest").write_text("this is no manifest\n")
        for _ in range(QUICK_EXITS):
            assert server.launch().wait(30) != 0
        try:
            server.start()
            assert (server.settings.redis_dir / "damaged" / "appendonlydir" / "appendonly.aof.manifest").exists()
        finally:
            server.kill()

    def test_it_ends_when_its_parent_is_killed(self, short_dir, settings_of):
        server = EmbeddedRedis(settings_of(short_dir / "state"))
        script = (
            "import subprocess, sys; child = subprocess.Popen([sys.executable, '-I', '-m', 'cli.redis_server']);"
            " print(child.pid, flush=True); child.wait()"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", script],
            env={
                **os.environ,
                "EASYALERT_RUN_DIR": str(server.settings.run_dir),
                "EASYALERT_REDIS_DIR": str(server.settings.redis_dir),
                "EASYALERT_REDIS_SERVER": server.server,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        pid = int(parent.stdout.readline())
        eventually(server.answers)
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
        eventually(lambda: start_ticks(pid) is None)
