"""What one worker process promises, seen from outside."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from rq import Worker

from easyalert.queues import agent_queue
from tests.support.waiting import eventually
from tests.workers.chain import gone, pid_in

pytestmark = pytest.mark.system


@pytest.fixture
def chain(make_chain):
    chain = make_chain(max_concurrent_jobs=1)
    chain.result(chain.bash("true"))
    return chain


def workers(chain):
    with chain.home.redis.client() as client:
        return [worker.pid for worker in Worker.all(queue=agent_queue(client))]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_for_the_whole_group_does_not_end_a_running_job(chain, number):
    file = chain.home.folder / "worker"
    key = chain.bash(f"echo $PPID > {file}; sleep 0.3; echo done")
    os.kill(pid_in(file), number)
    assert chain.result(key)["output"]["stdout"] == "done\n"


def test_one_process_runs_one_job_after_the_other(chain):
    keys = [chain.bash("echo $PPID") for _ in range(3)]
    assert len({chain.result(key)["output"]["stdout"] for key in keys}) == 1


def test_scripts_can_be_terminated_though_their_worker_cannot(chain):
    key = chain.bash("kill -TERM $$; sleep 5")
    assert chain.result(key)["exitCode"] == -15


def test_idle_workers_end_with_their_pool(chain):
    (pid,) = workers(chain)
    chain.pool.kill()
    eventually(lambda: gone(pid), what="the worker's end")


def test_a_job_popped_while_stopping_stays_queued(make_chain):
    chain = make_chain(max_concurrent_jobs=1, shutdown_grace_seconds=5)
    file = chain.home.folder / "worker"
    first = chain.bash(f"echo $PPID > {file}; sleep 0.3")
    pid_in(file)
    others = [chain.bash(f"touch {chain.home.folder}/ran") for _ in range(3)]
    chain.pool.terminate()
    assert chain.row(first).state == "done"
    assert {chain.row(key).state for key in others} == {"queued"}
    assert not (chain.home.folder / "ran").exists()


def test_it_does_not_poll(chain):
    (pid,) = workers(chain)

    def cpu() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.2)
    before = cpu()
    time.sleep(0.5)
    assert cpu() - before <= 1


def test_its_memory_and_environment_are_closed_to_others(chain):
    (pid,) = workers(chain)
    if os.getuid() == 0:
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max core file size        0" in limits
    else:
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()
