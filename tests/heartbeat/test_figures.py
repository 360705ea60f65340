from __future__ import annotations

import os
import time

from easyalert.journal import Figures
from easyalert.protocol.messages import RegisterData, SystemMetrics
from heartbeat.figures import agent_uptime_s, base_form, extended_form, message
from tests.support.base_protocol import judge_heartbeat

FIGURES = Figures(
    executed=42,
    failed=3,
    executed_last_hour=7,
    failed_last_hour=1,
    per_minute=tuple((minute, 1, 0) for minute in range(9)),
    in_flight=2,
    waiting=4,
    undelivered=5,
    undelivered_bytes=999,
    rejected=0,
)


def form():
    return base_form(RegisterData(agent_id="agt_1"), "online", FIGURES, SystemMetrics(cpu_percent=1.5), 60)


def test_the_base_form_is_the_contract_and_counts_failed_jobs():
    wire = message(form()).wire()
    assert judge_heartbeat(wire) == []
    assert (wire["jobsExecuted"], wire["jobsFailed"], wire["uptimeSeconds"]) == (42, 3, 60)
    assert wire["systemMetrics"] == {"cpuPercent": 1.5}


def test_the_extended_form(make_home):
    wire = message(form() | extended_form(FIGURES, [], {"redis": "ok"}, 5)).wire()
    assert judge_heartbeat(wire, extra=True) == []
    assert (wire["inFlight"], wire["queueDepth"], wire["undeliveredResults"], wire["maxConcurrentJobs"]) == (2, 4, 5, 5)
    assert wire["components"] == {"redis": "ok"}
    assert wire["runningJobs"] == []
    assert [minute["minute"] for minute in wire["workers"]["perMinute"]] == [4, 5, 6, 7, 8]
    assert (wire["workers"]["executedLastHour"], wire["workers"]["failedLastHour"]) == (7, 1)


def test_uptime_is_the_supervisors_not_this_process():
    mine = agent_uptime_s(os.getpid())
    assert 0 <= mine < 3600
    assert agent_uptime_s(1) >= mine
    before = agent_uptime_s(1)
    time.sleep(1.05)
    assert 1 <= agent_uptime_s(1) - before <= 60


def test_uptime_of_a_process_that_is_gone():
    assert agent_uptime_s(2**22 + 1) == 0
