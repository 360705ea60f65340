"""What is added to supervisord; the whole of it is started in `test_run.py`."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from supervisor.states import SupervisorStates

from cli.supervise import PromptOptions, PromptPoller


class Options:
    mood = SupervisorStates.RUNNING


@pytest.fixture
def poller():
    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    found = PromptPoller(Options())
    yield found
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, before)
    found.close_wakeup()


def timed(poller, timeout):
    begun = time.monotonic()
    answer = poller.poll(timeout)
    return answer, time.monotonic() - begun


def test_the_first_round_does_not_wait(poller):
    answer, took = timed(poller, 60)
    assert answer == ([], [])
    assert took < 30


def test_a_signal_ends_the_wait_and_is_not_shown_to_supervisord(poller):
    poller.poll(0)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    answer, took = timed(poller, 60)
    assert answer == ([], [])
    assert 0.05 < took < 30
    _, took = timed(poller, 0.2)
    assert took > 0.15


def test_descriptors_are_still_watched(poller):
    reading, writing = os.pipe()
    poller.register_readable(reading)
    os.write(writing, b"x")
    assert poller.poll(5) == ([reading], [])
    os.close(reading)
    os.close(writing)


def test_while_stopping_it_looks_often(poller):
    poller.poll(0)
    poller.options.mood = SupervisorStates.SHUTDOWN
    _, took = timed(poller, 60)
    assert took < 30


def test_a_hang_up_is_an_exit_request():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    options = PromptOptions()
    try:
        options.setsignals()
        os.kill(os.getpid(), signal.SIGHUP)
        assert options.get_signal() == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        options.poller.close_wakeup()
