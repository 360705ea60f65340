from __future__ import annotations

import pytest

from easyalert.journal import Figures, Journal
from easyalert.settings import AgentSettings
from poller import brake as module
from poller.brake import Brake, disk_space


class Outbox:
    """A journal with as much undelivered as the test says: 10,000 real rows would take seconds."""

    def __init__(self, undelivered=0, size=0):
        self.undelivered, self.size, self.looks = undelivered, size, 0

    def figures(self):
        self.looks += 1
        nothing = dict.fromkeys(Figures.__dataclass_fields__, 0)
        return Figures(**{**nothing, "undelivered": self.undelivered, "undelivered_bytes": self.size})


@pytest.fixture
def settings(tmp_path):
    return AgentSettings(_env_file=None, agent_api_url="https://cp", agent_api_key="k", state_dir=tmp_path)


@pytest.fixture
def disk(monkeypatch):
    space = {"free": 100 << 30, "size": 200 << 30}
    monkeypatch.setattr(module, "disk_space", lambda _folder: (space["free"], space["size"]))
    return space


def test_off_on_a_healthy_agent(settings, disk, tmp_path):
    with Journal(tmp_path / "journal") as journal:
        assert Brake(settings, journal).reason() is None


@pytest.mark.parametrize(("free_mb", "size_mb"), [(255, 1_000), (499, 10_000)])
def test_on_when_the_disk_is_low_with_what_to_do(settings, disk, free_mb, size_mb):
    disk.update(free=free_mb << 20, size=size_mb << 20)
    reason = Brake(settings, Outbox()).reason()
    assert reason is not None
    assert f"{free_mb} MB" in reason
    assert "MIN_FREE_DISK_MB" in reason


def test_zero_means_no_limit(tmp_path, disk):
    disk.update(free=0)
    settings = AgentSettings(
        _env_file=None, agent_api_url="https://cp", agent_api_key="k", state_dir=tmp_path, min_free_disk_mb=0
    )
    assert Brake(settings, Outbox()).reason() is None


@pytest.mark.parametrize(
    ("rows", "size", "on"),
    [(9_999, 0, False), (10_000, 0, True), (3, (256 << 20) - 1, False), (3, 256 << 20, True)],
)
def test_on_when_too_much_waits_for_delivery(settings, disk, rows, size, on):
    reason = Brake(settings, Outbox(rows, size)).reason()
    assert (reason is not None) is on
    assert reason is None or "easyalert-agent status" in reason


def test_looks_at_most_every_two_seconds_and_lets_go_by_itself(settings, disk):
    now = [100.0]
    outbox = Outbox(undelivered=10_000)
    brake = Brake(settings, outbox, clock=lambda: now[0])
    for _ in range(50):
        assert brake.reason()
    assert outbox.looks == 1
    outbox.undelivered = 0
    now[0] += 2
    assert brake.reason() is None


def test_disk_space_is_what_the_system_says(tmp_path):
    free, size = disk_space(tmp_path)
    assert 0 <= free <= size
    assert size > 0
