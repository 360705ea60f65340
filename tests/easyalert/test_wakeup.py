import asyncio
import socket
import stat

import pytest

from easyalert.wakeup import OUTPUT, WakeupListener, notify


def test_a_tap_sets_the_event_and_taps_do_not_pile_up(tmp_path):
    path = tmp_path / "poller.sock"

    async def scenario():
        event = asyncio.Event()
        listener = WakeupListener(path, event)
        for _ in range(5):
            notify(path)
        await asyncio.wait_for(event.wait(), 5)
        event.clear()
        await asyncio.sleep(0)
        assert not event.is_set(), "five taps are one"
        notify(path)
        await asyncio.wait_for(event.wait(), 5)
        listener.close()

    asyncio.run(scenario())


def test_only_the_owner_may_tap(tmp_path):
    path = tmp_path / "poller.sock"

    async def scenario():
        listener = WakeupListener(path, asyncio.Event())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        listener.close()

    asyncio.run(scenario())


def test_a_leftover_socket_is_replaced(tmp_path):
    path = tmp_path / "poller.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as old:
        old.bind(str(path))

    async def scenario():
        event = asyncio.Event()
        listener = WakeupListener(path, event)
        notify(path)
        await asyncio.wait_for(event.wait(), 5)
        listener.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["missing.sock", "missing/poller.sock", "x" * 200])
def test_nobody_listening_is_fine(tmp_path, name):
    notify(tmp_path / name)


def test_a_full_socket_does_not_block(tmp_path):
    path = tmp_path / "poller.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(path))
        for _ in range(2000):  # more than a socket's queue holds
            notify(path)


def test_a_socket_that_cannot_be_made_is_an_os_error_and_leaks_nothing(tmp_path):
    async def scenario():
        with pytest.raises(OSError, match=r"No such file|not a directory"):
            WakeupListener(tmp_path / "missing/poller.sock", asyncio.Event())

    asyncio.run(scenario())


def test_output_has_an_event_of_its_own(tmp_path):
    path = tmp_path / "poller.sock"

    async def scenario():
        journal, output = asyncio.Event(), asyncio.Event()
        listener = WakeupListener(path, journal, output)
        notify(path, OUTPUT)
        await asyncio.wait_for(output.wait(), 5)
        assert not journal.is_set()
        notify(path)
        await asyncio.wait_for(journal.wait(), 5)
        listener.close()

    asyncio.run(scenario())
