from __future__ import annotations

import asyncio

import pytest

from easyalert.wakeup import WakeupListener, notify
from poller.bell import Bell


def test_every_listener_hears_it_and_clears_for_itself():
    bell = Bell()
    first, second = bell.listener(), bell.listener()
    bell.set()
    first.clear()
    assert (first.is_set(), second.is_set()) == (False, True)
    bell.set()
    assert first.is_set()


@pytest.mark.system
def test_a_tap_on_the_socket_rings_it(short_dir):
    async def scenario():
        bell = Bell()
        heard = bell.listener()
        listener = WakeupListener(short_dir / "poller.sock", bell)
        try:
            notify(short_dir / "poller.sock")
            await asyncio.wait_for(heard.wait(), 2)
        finally:
            listener.close()

    asyncio.run(scenario())
