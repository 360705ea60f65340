from __future__ import annotations

import pytest

from easyalert.journal import Journal
from poller.retention import keep_pruned

DAY = 24 * 3600.0


@pytest.mark.parametrize(("features", "age"), [((), DAY), (("ack",), DAY), (("receipts",), 7 * DAY)])
def test_how_long_delivered_rows_are_remembered(drive, plain_server, monkeypatch, features, age):
    asked = []
    answers = [500, 500, 12]
    monkeypatch.setattr(
        Journal, "prune", lambda self, older_than_s, limit: (asked.append(older_than_s), answers.pop(0))[1]
    )

    async def scenario(rig):
        rig.start(lambda: keep_pruned(rig.parts))
        rig.register(*features)
        await rig.until(lambda: len(asked) == 3)  # in pieces, until nothing is left

    drive(plain_server, scenario)
    assert set(asked) == {age}


def test_nothing_is_forgotten_before_it_is_known_what_the_server_speaks(drive, plain_server):
    async def scenario(rig):
        task = rig.start(lambda: keep_pruned(rig.parts))
        rig.parts.stop.set()
        await task

    drive(plain_server, scenario)
