from __future__ import annotations

import asyncio

import pytest

from easyalert.netguard.racing import first_to_answer


class Dials:
    """What each address does: an exception to raise, or an event to wait for before it answers."""

    def __init__(self, **does):
        self.does = does
        self.dialled = []
        self.discarded = []

    async def dial(self, address):
        self.dialled.append(address)
        doing = self.does[address]
        if isinstance(doing, Exception):
            raise doing
        if doing is not None:
            await doing.wait()
        return f"connection to {address}"

    async def discard(self, connection):
        self.discarded.append(connection)

    async def race(self):
        return await first_to_answer(list(self.does), self.dial, self.discard)


def test_the_first_that_answers_wins_and_the_others_are_not_dialled():
    dials = Dials(a=None, b=None)
    assert asyncio.run(dials.race()) == ("a", "connection to a")
    assert dials.dialled == ["a"]


def test_a_refusal_passes_on_to_the_next_at_once(monkeypatch):
    monkeypatch.setattr("easyalert.netguard.racing._NEXT_ADDRESS_AFTER_S", 60)
    dials = Dials(a=ConnectionRefusedError(), b=None)
    assert asyncio.run(asyncio.wait_for(dials.race(), 20)) == ("b", "connection to b")


def test_a_silent_one_does_not_hold_up_the_next():
    async def main():
        dials = Dials(a=asyncio.Event(), b=None)
        return await asyncio.wait_for(dials.race(), 20)

    assert asyncio.run(main()) == ("b", "connection to b")


def test_the_last_failure_is_raised_when_none_answers():
    dials = Dials(a=ConnectionRefusedError("a"), b=OSError("b"))
    with pytest.raises(OSError, match="b"):
        asyncio.run(dials.race())


def test_one_that_connects_in_the_same_instant_is_discarded(monkeypatch):
    monkeypatch.setattr("easyalert.netguard.racing._NEXT_ADDRESS_AFTER_S", 0)

    async def main():
        both = asyncio.Event()
        dials = Dials(a=both, b=both)
        racing = asyncio.ensure_future(dials.race())
        while len(dials.dialled) < 2:  # noqa: ASYNC110 - what is waited for is a list
            await asyncio.sleep(0)
        both.set()
        won, _ = await racing
        return won, dials.discarded

    won, discarded = asyncio.run(main())
    assert discarded == [f"connection to {'b' if won == 'a' else 'a'}"]
