"""Running jobs that are cancelled: a real pool, real process trees."""

from __future__ import annotations

import http.server
import threading
import time

import pytest

from easyalert import wakeup
from easyalert.journal import State
from tests.support.waiting import eventually
from tests.workers.chain import gone, pid_in

pytestmark = pytest.mark.system

STUBBORN = "trap '' TERM; echo $$ > {file}; for i in $(seq 200); do sleep 0.1; done"
"""Ignores SIGTERM, writes down its pid, and ends by itself whatever becomes of the test."""
BY_ITSELF_S = 20.0
DAEMON = "(setsid bash -c '{stubborn}' >/dev/null 2>&1 &)"


def cancel(chain, key, by="Ada"):
    """As the poller does it: the mark, then the bell. Returns when."""
    with chain.home.journal() as journal:
        assert journal.cancel(key, by) in {"marked", "known"}
    wakeup.notify(chain.home.settings.workers_socket)
    return time.monotonic()


def ended(chain, key, within=15.0):
    result = chain.result(key, within=within)
    row = chain.row(key)
    assert row.outcome == "cancelled"
    assert result["status"] == "error"
    assert result["exitCode"] == -1
    assert result["error"].startswith("cancelled")
    return result


def warm(chain):
    """The pool is up, its bell hangs."""
    assert chain.result(chain.bash("true"))["status"] == "success"


def test_a_script_that_obeys_ends_at_once_and_keeps_what_it_printed(make_chain):
    chain = make_chain(cancel_grace_seconds=60)
    warm(chain)
    pid = chain.home.folder / "pid"
    key = chain.bash(f"echo so far; echo $$ > {pid}; sleep 60")
    script = pid_in(pid)
    cancel(chain, key)
    eventually(lambda: gone(script), what="the script gone, without the grace")
    result = ended(chain, key)
    assert result["output"]["stdout"] == "so far\n"
    assert "Ada" in result["error"]
    assert chain.result(chain.bash("echo next"))["output"]["stdout"] == "next\n"


@pytest.mark.parametrize(
    "script",
    [
        STUBBORN,
        DAEMON.format(stubborn=STUBBORN.replace("'", "'\\''")) + "; sleep 20",
        "(setsid bash -c '" + STUBBORN.replace("'", "'\\''") + "' &); echo held; exit 0",
    ],
    ids=["ignores TERM", "double-forked daemon", "pipe holder of an ended script"],
)
def test_what_ignores_the_signal_is_killed_after_its_grace(make_chain, script):
    chain = make_chain(cancel_grace_seconds=1)
    warm(chain)
    pid = chain.home.folder / "pid"
    key = chain.bash(script.format(file=pid))
    stubborn = pid_in(pid)
    if "exit 0" in script:  # the script itself has ended: nothing to cancel, and nothing may be left
        assert chain.result(key)["status"] == "success"
    else:
        asked = cancel(chain, key)
        ended(chain, key)
        assert 0.9 < time.monotonic() - asked < BY_ITSELF_S, "killed, and not before its grace was over"
    eventually(lambda: gone(stubborn), within=BY_ITSELF_S, what="the stubborn one gone")


def test_a_second_request_changes_nothing(make_chain):
    chain = make_chain(cancel_grace_seconds=1)
    warm(chain)
    pid = chain.home.folder / "pid"
    key = chain.bash(STUBBORN.format(file=pid))
    pid_in(pid)
    asked = cancel(chain, key)
    for by in ("Bob", "Eve"):
        cancel(chain, key, by)
    assert "Ada" in ended(chain, key)["error"]
    assert time.monotonic() - asked < BY_ITSELF_S, "killed"


class Silent(http.server.BaseHTTPRequestHandler):
    """Takes requests and does not answer them for a minute."""

    arrived = threading.Event()
    released = threading.Event()

    def do_POST(self):
        self.arrived.set()
        self.released.wait(60)

    def log_message(self, *_):
        """Silent."""


def test_an_action_without_a_process_is_cancelled_too(make_chain):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        chain = make_chain(allow_private_network=True)
        warm(chain)
        key = chain.send("http.request", {"url": f"http://127.0.0.1:{server.server_address[1]}/", "method": "POST"})
        assert Silent.arrived.wait(10), chain.row(key)
        cancel(chain, key)
        assert "may have taken effect" in ended(chain, key)["error"]
    finally:
        Silent.released.set()
        server.shutdown()
        server.server_close()


def test_a_worker_that_hangs_is_killed_and_the_job_is_cancelled(make_chain):
    """A stopped worker reacts to nothing, as one that blocks in foreign code."""
    chain = make_chain(cancel_grace_seconds=0)
    warm(chain)
    worker, pid = chain.home.folder / "worker", chain.home.folder / "pid"
    key = chain.bash(f"echo $$ > {pid}; echo $PPID > {worker}; kill -STOP $PPID; sleep 20")
    script, keeper = pid_in(pid), pid_in(worker)
    cancel(chain, key)
    ended(chain, key)
    assert gone(script)
    assert gone(keeper)
    assert chain.row(key).state is State.CANCELLED


def test_a_request_is_obeyed_by_the_next_pool_without_running_the_job_again(make_chain):
    """The agent dies between request and effect."""
    chain = make_chain()
    warm(chain)
    pid, runs = chain.home.folder / "pid", chain.home.folder / "runs"
    key = chain.bash(f"echo x >> {runs}; echo $$ > {pid}; sleep 20", idempotent=True)
    script = pid_in(pid)
    chain.pool.kill()
    with chain.home.journal() as journal:
        journal.cancel(key, "Ada")
    chain.start()
    ended(chain, key)
    eventually(lambda: gone(script), what="the script gone")
    assert runs.read_text() == "x\n"


def test_without_the_bell_it_takes_longer_and_comes(make_chain):
    chain = make_chain()
    warm(chain)
    pid = chain.home.folder / "pid"
    key = chain.bash(f"echo $$ > {pid}; sleep 20")
    pid_in(pid)
    with chain.home.journal() as journal:
        journal.cancel(key, "Ada")
    ended(chain, key)


def test_races_with_the_end_come_out_as_exactly_one_of_the_two(make_chain):
    chain = make_chain(max_concurrent_jobs=2)
    warm(chain)
    seen = set()
    for number in range(16):
        key = chain.bash(f"sleep 0.0{number % 8}; echo done")
        chain.until(key, lambda row: row.state is not State.QUEUED)
        with chain.home.journal() as journal:
            journal.cancel(key, "Ada")
        wakeup.notify(chain.home.settings.workers_socket)
        result = chain.result(key)
        row = chain.row(key)
        seen.add(row.outcome)
        if row.outcome == "finished":
            assert (result["status"], result["output"]["stdout"]) == ("success", "done\n")
        else:
            assert (row.outcome, result["status"]) == ("cancelled", "error")
            assert row.cancel_by == "Ada"
    assert "cancelled" in seen
