from __future__ import annotations

import select

import pytest

from workers.lifeline import Lifeline


@pytest.fixture
def ends():
    here, there = Lifeline.pair()
    yield here, there
    here.close()
    there.close()


def test_messages_arrive_whole_and_in_order(ends):
    here, there = ends
    here.say("busy", key="a" * 80)
    here.say("idle")
    assert there.hear() == [{"word": "busy", "key": "a" * 80}, {"word": "idle"}]
    assert there.hear() == []


def test_that_the_other_end_is_gone_is_heard_after_its_last_words(ends):
    here, there = ends
    here.say("idle")
    here.close()
    assert there.hear() == [{"word": "idle"}]
    with pytest.raises(EOFError):
        there.hear()


def test_speaking_to_nobody_fails_silently(ends):
    here, there = ends
    there.close()
    here.say("idle")


def test_speaking_never_blocks(ends):
    here, _ = ends
    for _number in range(2_000):
        here.say("busy", key="x" * 200)


def test_it_can_be_waited_on_and_wakes_when_the_other_end_goes(ends):
    here, there = ends
    assert select.select([there], [], [], 0)[0] == []
    here.close()
    assert select.select([there], [], [], 1)[0] == [there]
