from __future__ import annotations

import json
import os

import pytest

from bench import footprint
from bench.memory import family
from tests.support.require import missing, require_program


@pytest.mark.system
def test_it_measures_every_process():
    require_program("redis-server", "valkey-server", package="redis-server")
    if os.geteuid() != 0:
        missing("only root may look into the agent's processes")
    figures = footprint.measure([2], jobs=3, idle_s=1.0)
    json.dumps(figures)
    (agent,) = figures["agents"]
    assert agent["slots"] == 2
    assert agent["startToRegistered"] > 0
    idle, busy, after = agent["cases"].values()
    for case in (idle, busy, after):
        names = {process["name"] for process in case["processes"]}
        assert {"supervisord", "redis", "admin", "heartbeat", "poller", "workers", "workers/1", "workers/2"} <= names
        for process in case["processes"]:
            assert 0 < process["private"] <= process["pss"] <= process["rss"]
        assert case["pss"] == sum(process["pss"] for process in case["processes"])
    # workers, not the shells and sleeps of their jobs
    assert len(busy["processes"]) <= len(idle["processes"]) + 1
    assert "in all" in footprint.table(figures)


def test_a_process_that_is_gone_is_left_out():
    assert [process.name for process in family(os.getpid())][:1] == ["supervisord"]
    assert not family(2**22 + 1)
