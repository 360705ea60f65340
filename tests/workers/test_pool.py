"""The pool as a whole: a real `python -I -m workers` with a real Redis."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rq import Worker
from rq.job import Job
from rq.registry import StartedJobRegistry

from easyalert.journal import State
from easyalert.queues import agent_queue
from easyalert.runtime import EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_OK
from tests.support.waiting import eventually
from tests.workers.chain import gone, pid_in
from workers.registry import Registry

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]

DAEMON = "(setsid bash -c 'trap \"\" TERM; echo $$ > {file}; while :; do sleep 0.1; done' >/dev/null 2>&1 &)"
"""A double-forked daemon that ignores SIGTERM and writes down its pid."""


def test_a_script_goes_from_row_to_result(make_chain):
    chain = make_chain()
    key = chain.bash("echo out; echo err >&2")
    result = chain.result(key)
    assert result["status"] == "success"
    assert result["exitCode"] == 0
    assert result["output"] == {"stdout": "out\n", "stderr": "err\n", "truncated": False}
    assert chain.pool.terminate() == EXIT_OK


def test_the_kinds_of_executors_are_noted_before_the_first_job(make_chain):
    chain = make_chain()
    chain.result(chain.bash("true"))
    with chain.home.journal() as journal:
        assert "script" in journal.note("capabilities")


def test_never_more_jobs_at_once_than_allowed(make_chain):
    chain = make_chain(max_concurrent_jobs=3)
    log = chain.home.folder / "log"
    keys = [chain.bash(f"echo + >> {log}; sleep 0.15; echo - >> {log}") for _ in range(9)]
    for key in keys:
        assert chain.result(key)["status"] == "success"
    running = most = 0
    for line in log.read_text().split():
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == 3
    assert running == 0


def test_a_killed_worker_leaves_the_job_in_doubt_and_no_process_behind(make_chain):
    chain = make_chain()
    worker, child, daemon = (chain.home.folder / name for name in ("worker", "child", "daemon"))
    key = chain.bash(f"echo $PPID > {worker}; {DAEMON.format(file=daemon)}; echo $$ > {child}; sleep 60")
    pids = [pid_in(file) for file in (child, daemon)]
    began = time.monotonic()
    os.kill(pid_in(worker), signal.SIGKILL)
    result = chain.result(key)
    assert time.monotonic() - began < 20, "docs/faults.md promises 5 s, on a machine that has nothing else to do"
    assert result["error"].startswith("in_doubt:")
    assert result["exitCode"] == -1
    assert chain.row(key).state is State.IN_DOUBT
    assert all(map(gone, pids))
    eventually(lambda: not list(chain.home.settings.tmp_dir.iterdir()), what="its script removed")
    assert chain.result(chain.bash("echo next"))["output"]["stdout"] == "next\n"


def test_an_idempotent_job_is_run_again_after_its_worker_died(make_chain):
    chain = make_chain()
    runs = chain.home.folder / "runs"
    key = chain.bash(f"echo x >> {runs}; [ $(wc -l < {runs}) -gt 1 ] || kill -9 $PPID; echo done", idempotent=True)
    result = chain.result(key)
    assert result["status"] == "success"
    assert runs.read_text() == "x\nx\n"
    assert chain.row(key).deaths == 1


def test_a_job_that_kills_its_worker_three_times_is_poison(make_chain):
    chain = make_chain()
    runs = chain.home.folder / "runs"
    key = chain.bash(f"echo x >> {runs}; kill -9 $PPID; sleep 5", idempotent=True)
    result = chain.result(key)
    assert result["error"].startswith("poison:")
    assert runs.read_text() == "x\nx\nx\n"


def test_a_time_out_ends_the_whole_tree_and_keeps_what_was_printed(make_chain):
    chain = make_chain()
    daemon = chain.home.folder / "daemon"
    key = chain.bash(
        f"trap '' TERM; {DAEMON.format(file=daemon)}; echo so far; while :; do sleep 0.1; done", timeout_s=1
    )
    result = chain.result(key)
    assert result["status"] == "error"
    assert result["exitCode"] == -1
    assert "timed out after 1 seconds" in result["error"]
    assert result["output"]["stdout"] == "so far\n"
    assert result["durationMs"] >= 1000
    assert chain.row(key).outcome == "timed_out"
    assert gone(pid_in(daemon))


def test_what_a_job_leaves_running_is_ended_with_it(make_chain):
    chain = make_chain()
    daemon = chain.home.folder / "daemon"
    key = chain.bash(f"{DAEMON.format(file=daemon)}; while [ ! -s {daemon} ]; do sleep 0.01; done; echo ok")
    assert chain.result(key)["output"]["stdout"] == "ok\n"
    assert gone(pid_in(daemon))


def test_sigterm_lets_running_jobs_finish_and_starts_no_other(make_chain):
    chain = make_chain(max_concurrent_jobs=1)
    begun = chain.home.folder / "begun"
    first = chain.bash(f"echo 1 > {begun}; sleep 0.5; echo finished")
    second = chain.bash("echo never")
    pid_in(begun)
    assert chain.pool.terminate() == EXIT_OK
    assert chain.row(first).result["output"]["stdout"] == "finished\n"
    assert chain.row(second).state is State.QUEUED


def test_more_signals_change_nothing(make_chain):
    chain = make_chain(max_concurrent_jobs=1)
    begun = chain.home.folder / "begun"
    key = chain.bash(f"echo 1 > {begun}; sleep 0.6; echo finished")
    pid_in(begun)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(chain.pool.pid, number)
        time.sleep(0.05)
    assert chain.pool.wait() == EXIT_OK
    assert chain.row(key).result["output"]["stdout"] == "finished\n"


def test_without_the_process_that_started_it_there_is_no_grace(make_chain):
    chain = make_chain(start=False, shutdown_grace_seconds=60)
    launcher = chain.start_below_a_launcher()
    worker, daemon = chain.home.folder / "worker", chain.home.folder / "daemon"
    key = chain.bash(f"echo $PPID > {worker}; {DAEMON.format(file=daemon)}; sleep 60")
    pids = [pid_in(chain.home.folder / "pool"), pid_in(worker), pid_in(daemon)]
    launcher.kill()
    eventually(lambda: all(map(gone, pids)), what="all processes being gone")
    assert chain.row(key).state is State.IN_DOUBT


def test_what_outlasts_the_grace_is_cut_off_and_in_doubt(make_chain):
    chain = make_chain(shutdown_grace_seconds=0)
    pid = chain.home.folder / "pid"
    key = chain.bash(f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done")
    running = pid_in(pid)
    began = time.monotonic()
    assert chain.pool.terminate() == EXIT_OK
    assert time.monotonic() - began < 15, "it has a grace of its own of a second, not the usual 30"
    assert gone(running)
    assert chain.row(key).state is State.IN_DOUBT


def test_a_killed_pool_takes_everything_along_and_the_next_one_settles_it(make_chain):
    chain = make_chain()
    worker, daemon = chain.home.folder / "worker", chain.home.folder / "daemon"
    key = chain.bash(f"echo $PPID > {worker}; {DAEMON.format(file=daemon)}; sleep 60")
    pids = [pid_in(worker), pid_in(daemon)]
    chain.pool.kill()
    eventually(lambda: all(map(gone, pids)), what="all processes being gone")
    assert chain.row(key).state is State.STARTED
    chain.start()
    assert chain.result(key)["error"].startswith("in_doubt:")
    with chain.home.redis.client() as client:
        queue = agent_queue(client)
        eventually(lambda: pids[0] not in {w.pid for w in Worker.all(queue=queue)}, what="the dead worker's burial")


def test_a_stopped_worker_is_killed_after_its_deadline_and_the_job_timed_out(make_chain):
    chain = make_chain(start=False)
    chain.start_patched("import workers.forked\nworkers.forked.DEADLINE_GRACE_S = 0.2")
    worker, child = chain.home.folder / "worker", chain.home.folder / "child"
    key = chain.bash(f"echo $PPID > {worker}; echo $$ > {child}; sleep 60", timeout_s=1)
    os.kill(pid_in(worker), signal.SIGSTOP)
    result = chain.result(key)
    assert "timed out after 1 seconds" in result["error"]
    assert chain.row(key).outcome == "timed_out"
    assert gone(pid_in(child))
    assert chain.result(chain.bash("echo on"))["output"]["stdout"] == "on\n"


def test_an_executor_that_ends_or_blocks_its_process_hurts_its_own_job_only(make_chain):
    chain = make_chain(start=False, max_concurrent_jobs=2)
    chain.start_patched(
        f"import sys\nsys.path.append({str(ROOT)!r})\n"
        "import workers.forked, workers.registry\nfrom tests.workers.oddities import foreign\n"
        "workers.registry._foreign_kinds = foreign\nworkers.forked.DEADLINE_GRACE_S = 0.2"
    )
    blocked = chain.send("odd.block", {}, timeout_s=1)
    died = chain.send("odd.die", {})
    assert chain.result(died)["error"].startswith("in_doubt:")
    assert chain.result(blocked)["error"].startswith("timed out after 1 seconds")
    assert chain.result(chain.bash("echo on"))["output"]["stdout"] == "on\n"
    with chain.home.journal() as journal:
        assert journal.note("capabilities") == sorted({*Registry(foreign={}).kinds(), "odd"})


def test_idle_workers_above_the_warm_one_are_retired(make_chain):
    chain = make_chain(start=False, max_concurrent_jobs=4)
    chain.start_patched("import workers.pool\nworkers.pool.Pool.__init__.__kwdefaults__['idle_retire_s'] = 0.2")
    keys = [chain.bash("sleep 0.4") for _ in range(4)]
    with chain.home.redis.client() as client:
        queue = agent_queue(client)
        eventually(lambda: Worker.count(queue=queue) == 4, what="four workers")
        for key in keys:
            chain.result(key)
        eventually(lambda: Worker.count(queue=queue) == 1, what="one worker left")


def test_rq_shows_workers_and_jobs_truthfully(make_chain):
    chain = make_chain()
    good, bad = chain.bash("sleep 0.4"), chain.bash("exit 3")
    with chain.home.redis.client() as client:
        queue = agent_queue(client)

        def busy() -> list[Worker]:
            return [w for w in Worker.all(queue=queue) if w.get_state() == "busy" and w.get_current_job_id() == good]

        worker = eventually(busy, what="a busy worker")[0]
        assert worker.name.startswith("agent-of-the-tests.")
        assert worker.name.endswith(f".{worker.pid}")
        assert Job.fetch(good, connection=client, serializer=queue.serializer).get_status() == "started"
        chain.result(good)
        chain.result(bad)
        for key, status in ((good, "finished"), (bad, "failed")):
            job = Job.fetch(key, connection=client, serializer=queue.serializer)
            eventually(lambda job=job, status=status: job.get_status() == status, what=status)
            job.refresh()
            assert 0 < client.ttl(job.key) <= 600
            assert job.ended_at is not None
        assert StartedJobRegistry(queue=queue).get_job_ids() == []
        assert {w.get_state() for w in Worker.all(queue=queue)} == {"idle"}
        chain.pool.terminate()
        assert Worker.count(queue=queue) == 0


def test_a_dead_worker_vanishes_from_rq_and_its_job_is_shown_as_failed(make_chain):
    chain = make_chain()
    key = chain.bash("kill -9 $PPID; sleep 5")
    chain.result(key)
    with chain.home.redis.client() as client:
        queue = agent_queue(client)
        job = Job.fetch(key, connection=client, serializer=queue.serializer)
        eventually(lambda: job.get_status() == "failed", what="a failed job")
        assert StartedJobRegistry(queue=queue).get_job_ids() == []
        living = {worker.pid for worker in Worker.all(queue=queue)}
    assert not any(map(gone, living))


def test_what_others_put_into_redis_is_dropped_and_hurts_nobody(make_chain):
    chain = make_chain(max_concurrent_jobs=1)
    proof = chain.home.folder / "proof"
    key = chain.take("script.bash", {"script": "echo mine"})
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    pickled = b"cposix\nsystem\n(V touch %b\ntR." % str(proof).encode()
    with chain.home.redis.client() as client:
        queue = agent_queue(client)
        serializer = queue.serializer
        payloads = {
            "hostile-pickle": pickled,
            "foreign-function": serializer.dumps(("os.system", None, [f"touch {proof}"], {})),
            "foreign-id": serializer.dumps(("workers.jobs.run_job", None, [key], {})),
            "no-arguments": serializer.dumps(("workers.jobs.run_job", None, [], {})),
            "odd-arguments": serializer.dumps(("workers.jobs.run_job", None, 7, {})),
            "instance": serializer.dumps(("run_job", "x", [], {})),
            "no-pickle": b"\x00\xff",
        }
        for job_id, data in payloads.items():
            client.hset(
                f"rq:job:{job_id}", mapping={"data": data, "created_at": now, "origin": "easyalert", "status": "queued"}
            )
            client.rpush(queue.key, job_id)
        client.rpush(queue.key, "missing", b"\xff\xfe", "x" * 5000)
        client.set("rq:job:wrong-type", "text")
        client.rpush(queue.key, "wrong-type")
        chain.enqueue(key)
    assert chain.result(key)["output"]["stdout"] == "mine\n"
    assert not proof.exists()
    assert "died" not in chain.pool.log
    assert chain.pool.log.count("dropped something") == len(payloads) + 4


def test_redis_may_go_away_and_come_back_while_jobs_run_and_while_none_does(make_chain):
    chain = make_chain(max_concurrent_jobs=1)
    begun = chain.home.folder / "begun"
    key = chain.bash(f"echo 1 > {begun}; sleep 0.3; echo kept")
    pid_in(begun)
    chain.home.redis.kill()
    assert chain.result(key)["output"]["stdout"] == "kept\n"
    eventually(lambda: "Redis does not answer" in chain.pool.log, what="the worker noticing")
    chain.home.redis.start()
    began = time.monotonic()
    key = chain.bash("echo again")
    assert chain.result(key)["output"]["stdout"] == "again\n"
    assert time.monotonic() - began < 25, "docs/faults.md promises 10 s, on a machine that has nothing else to do"
    assert "died" not in chain.pool.log


def test_a_job_in_the_queue_twice_runs_once(make_chain):
    chain = make_chain()
    runs = chain.home.folder / "runs"
    key = chain.take("script.bash", {"script": f"echo x >> {runs}; sleep 0.1"})
    chain.enqueue(key)
    chain.enqueue(key)
    chain.result(key)
    chain.enqueue(key)
    with chain.home.redis.client() as client:
        job = Job.fetch(key, connection=client, serializer=agent_queue(client).serializer)
        eventually(lambda: job.get_status() == "finished", what="the double shown as what it is")
    assert runs.read_text() == "x\n"


def test_credentials_are_stored_and_found_and_lie_on_no_disk_in_clear(make_chain):
    chain = make_chain(start=False)
    chain.home.values["agent_api_url"] = "https://control.example"
    chain.start()
    canary = "c4n4ry-in-the-coal-mine"
    stored = chain.send("system.storeCredential", {"connectionId": "web", "credentials": {"token": canary}})
    assert chain.result(stored)["status"] == "success"
    found = chain.send("connection.test", {}, connection_id="web")
    assert chain.result(found)["status"] == "success"
    chain.pool.terminate()
    for file in chain.home.folder.rglob("*"):
        if file.is_file():
            assert canary.encode() not in file.read_bytes(), file


def test_a_dead_bookkeeper_is_replaced(make_chain):
    chain = make_chain()
    chain.result(chain.bash("true"))
    with chain.home.redis.client() as client:
        queue = agent_queue(client)

        def not_a_worker() -> list[int]:
            workers = {worker.pid for worker in Worker.all(queue=queue)}
            children = {int(pid) for pid in (chain.proc / "children").read_text().split()}
            return list(children - workers) if len(children - workers) == 1 else []

        (bookkeeper,) = eventually(not_a_worker, what="one child that is no worker")
    os.kill(bookkeeper, signal.SIGKILL)
    eventually(lambda: "another takes over" in chain.pool.log, what="another bookkeeper")
    key = chain.bash("kill -9 $PPID; sleep 5")
    assert chain.result(key)["error"].startswith("in_doubt:")


@pytest.mark.parametrize(("deaths", "code"), [(1, None), (9, EXIT_FAILURE)])
def test_a_bookkeeper_that_dies_at_the_start_is_tried_again_but_not_for_ever(make_chain, deaths, code):
    chain = make_chain(start=False)
    chain.start_patched(
        "import os, workers.bookkeeper\nopen_books = workers.bookkeeper.Bookkeeper.open_books\n"
        f"def moody(self):\n    with open({str(chain.home.folder / 'deaths')!r}, 'a+') as file:\n"
        f"        file.write('x')\n        if file.tell() <= {deaths}:\n            os._exit(9)\n    open_books(self)\n"
        "workers.bookkeeper.Bookkeeper.open_books = moody"
    )
    if code is None:
        assert chain.result(chain.bash("echo up"))["output"]["stdout"] == "up\n"
    else:
        assert chain.pool.wait() == code
        assert "could not be settled" in chain.pool.log


def test_it_says_what_is_wrong_and_ends_when_it_cannot_start(make_chain):
    chain = make_chain(start=False)
    chain.home.settings.agent_key_path.unlink()
    assert chain.start().wait() == EXIT_CONFIGURATION
    assert "agent's key file" in chain.pool.log
    assert "Traceback" not in chain.pool.log
