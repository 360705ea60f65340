from __future__ import annotations

import json

import pytest

from bench import latency
from deploy.quickstart.home import Home
from tests.support.require import require_program


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 99, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([float(n) for n in range(1, 201)], 99, 198.0),
        ([3.0, 1.0, 2.0], 100, 3.0),
    ],
)
def test_percentiles_are_measured_values(values, percent, expected):
    assert latency.percentile(values, percent) == expected


@pytest.mark.system
def test_it_measures_the_whole_chain(short_dir):
    require_program("redis-server", "valkey-server", package="redis-server")
    figures = latency.measure(Home(short_dir), jobs=3, warm_up=1)
    json.dumps(figures)
    assert figures["startToFirstPollMs"] > 0
    for case in figures["cases"].values():
        assert 0 < case["p50"] <= case["p99"] <= case["max"]
        assert list(case["meanGaps"]) == [
            "created", "dispatched", "acknowledged", "started", "finished", "received", "result seen",
        ]  # fmt: skip
        assert sum(case["meanGaps"].values()) > 0
    assert "p50" in latency.table(figures)
