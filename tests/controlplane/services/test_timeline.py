import pytest

from controlplane.clock import Uptime
from controlplane.models.tables import Agent, Attempt, Job, Pool
from controlplane.services import timeline
from controlplane.services.lifecycle import DEADLINE_MARGIN_S, LEASE_S
from controlplane.services.pools import DEFAULT_LOST_AFTER_S
from tests.controlplane.world import result


class Machine:
    """A control plane that is stopped and started, while somebody sets the wall clock."""

    def __init__(self, world):
        self.world = world
        self.boot = "boot-1"
        self.uptime = 1000.0
        self.started_at = world.clock.at
        self.follow()

    def follow(self):
        uptime = Uptime(self.boot, self.uptime + self.world.clock.at - self.started_at)
        step = self.world.write(lambda s, now: timeline.follow(s, now, uptime))
        self.world.up_since = self.world.clock.at
        return step

    def set_clock(self, seconds):
        """Somebody sets it; the uptime does not care."""
        self.world.clock.at += seconds
        self.started_at += seconds

    def reboot(self):
        self.boot, self.uptime, self.started_at = "boot-2", 5.0, self.world.clock.at


@pytest.fixture
def machine(world):
    return Machine(world)


def test_a_restart_without_a_step_moves_nothing(world, machine):
    world.agent()
    job = world.submit()
    created = world.row(Job, job).created_at
    world.clock.sleep(4 * 3600)
    assert machine.follow() == 0
    assert world.row(Job, job).created_at == created


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_what_waits_keeps_its_place_and_its_queue_age(world, machine, hour):
    world.agent()
    world.write(lambda s, _now: setattr(s.get(Pool, "default"), "max_queue_age_s", 100))
    job = world.submit()
    world.clock.sleep(40)
    machine.set_clock(hour)
    assert machine.follow() == pytest.approx(hour, abs=0.01)
    assert world.sweep() == 0
    world.clock.sleep(59)
    assert world.sweep() == 0
    world.clock.sleep(2)
    assert world.sweep() == 1
    assert world.state(job) == "expired"


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_a_lease_ends_when_it_would_have(world, machine, hour):
    agent = world.agent()
    job = world.submit()
    world.poll(agent)
    machine.set_clock(hour)
    machine.follow()
    world.heartbeat(agent)
    world.clock.sleep(LEASE_S - 1)
    world.heartbeat(agent)
    assert world.sweep() == 0
    world.clock.sleep(2)
    assert world.sweep() == 1
    assert world.state(job) == "pending"


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_an_offer_is_made_again_after_the_step(world, machine, hour):
    agent = world.agent()
    world.submit()
    (wire,) = world.poll(agent)
    world.clock.sleep(2)
    machine.set_clock(hour)
    machine.follow()
    (again,) = world.poll(agent)
    assert (again["jobId"], again["attempt"]) == (wire["jobId"], wire["attempt"])


@pytest.mark.parametrize("hours", [4, -4])
def test_a_running_job_is_in_doubt_when_it_would_have_been(world, machine, hours):
    agent = world.agent()
    job = world.submit(timeout=1800)
    wire = world.take(agent)
    running = [{"jobId": wire["jobId"], "attempt": wire["attempt"]}]
    world.heartbeat(agent, running=running)
    machine.set_clock(hours * 3600.0)
    machine.follow()
    for _ in range(17):
        world.clock.sleep(100)
        world.heartbeat(agent, running=running)
        assert world.sweep() == 0
    world.clock.sleep(100 + DEADLINE_MARGIN_S + DEFAULT_LOST_AFTER_S)
    assert world.sweep() == 1
    assert world.state(job) == "in_doubt"


def test_an_agent_that_is_gone_is_seen_to_be_gone_after_a_step_back(world, machine):
    agent = world.agent()
    machine.set_clock(-3600.0)
    machine.follow()
    world.clock.sleep(91)
    row = world.row(Agent, agent)
    assert world.clock.at - row.last_heartbeat_at >= 90


def test_after_a_reboot_the_future_is_taken_for_the_last_that_happened(world, machine):
    world.agent()
    job = world.submit()
    world.clock.sleep(10)
    machine.set_clock(-3600.0)
    machine.reboot()
    assert machine.follow() < -3500
    assert world.row(Job, job).available_at == pytest.approx(world.clock.at, abs=1)


def test_after_a_reboot_what_lies_in_the_past_stays(world, machine):
    world.agent()
    job = world.submit()
    created = world.row(Job, job).created_at
    world.clock.sleep(8 * 3600)
    machine.reboot()
    assert machine.follow() == 0
    assert world.row(Job, job).created_at == created


def test_history_is_not_rewritten(world, machine):
    agent = world.agent()
    job = world.submit()
    world.report(agent, result(world.take(agent)))
    ended = world.row(Attempt, (job, 1)).ended_at
    machine.set_clock(3600.0)
    machine.follow()
    assert world.row(Attempt, (job, 1)).ended_at == ended


def test_a_machine_that_cannot_tell_its_boot_is_as_after_a_reboot(world, machine):
    world.agent()
    world.submit()
    machine.boot = ""
    machine.follow()
    machine.set_clock(3600.0)
    assert machine.follow() == 0
