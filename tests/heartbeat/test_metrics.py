from __future__ import annotations

import logging

from heartbeat.metrics import HostMetrics, load


def test_every_figure_of_the_contract_is_measured_here():
    wire = HostMetrics().sample().wire()
    assert set(wire) == {
        *("cpuPercent", "memoryPercent", "memoryUsedMb", "memoryTotalMb"),
        *("diskPercent", "diskUsedGb", "diskTotalGb", "loadAverage"),
    }
    for name in ("cpuPercent", "memoryPercent", "diskPercent"):
        assert 0 <= wire[name] <= 100
    assert 0 < wire["memoryUsedMb"] <= wire["memoryTotalMb"]
    assert 0 <= wire["diskUsedGb"] <= wire["diskTotalGb"]
    assert len(wire["loadAverage"]) == 3


def test_one_failing_group_hides_no_other_and_is_logged_once(caplog):
    def broken():
        raise RuntimeError("no /proc here")

    def fine():
        return {"memory_percent": 12.5}

    with caplog.at_level(logging.WARNING):
        metrics = HostMetrics((broken, fine))
        metrics.sample()
        assert metrics.sample().wire() == {"memoryPercent": 12.5}
    assert len(caplog.records) == 1


def test_no_load_average_is_null(monkeypatch):
    monkeypatch.delattr("os.getloadavg")
    assert HostMetrics((load,)).sample().wire() == {"loadAverage": None}
