from controlplane.models.tables import Attempt, Job
from controlplane.services import lifecycle
from controlplane.services.lifecycle import doubt_at


def job(timeout=300):
    return Job(timeout_s=timeout)


def attempt(**more):
    return Attempt(**{"needs_ack": True, "dispatched_at": 0.0, "renewed_at": 0.0, "running_at": None, **more})


def test_states_are_divided():
    assert not lifecycle.HELD & lifecycle.FINAL
    assert {"pending"} | lifecycle.HELD | lifecycle.FINAL == lifecycle.STATES
    assert len(lifecycle.STATES) == 10


def test_whichever_is_later_silence_or_deadline():
    assert doubt_at(job(60), attempt(running_at=0.0), 600, 0) == 600
    assert doubt_at(job(3600), attempt(running_at=0.0), 600, 0) == 3660
    assert doubt_at(job(60), attempt(running_at=0.0, renewed_at=1000.0), 600, 0) == 1600


def test_no_renewal_carries_a_job_more_than_an_hour_past_its_deadline():
    assert doubt_at(job(60), attempt(running_at=0.0, renewed_at=1e6), 600, 0) == 60 + 3600


def test_accepted_counts_its_latest_start():
    assert doubt_at(job(300), attempt(), 600, 0) == 900 + 300 + 60


def test_base_agents_get_slot_wait_and_margin():
    assert doubt_at(job(300), attempt(needs_ack=False), 600, 0) == 660
    assert doubt_at(job(5), attempt(needs_ack=False), 600, 0) == 600


def test_silence_begins_when_we_are_up():
    for kind in (attempt(), attempt(running_at=0.0), attempt(needs_ack=False)):
        assert doubt_at(job(60), kind, 600, 50_000) == 50_600


def test_credentials_are_wiped_once_and_shown_never(world):
    world.agent()
    params = {"connectionId": "c", "credentials": {"password": "canary"}}
    job_id = world.submit("system.storeCredential", params=params)
    other = world.submit("http.request", params={"credentials": "not a secret of ours"})

    def wipe(session, _now):
        for found in (job_id, other):
            lifecycle.wipe_credentials(session, session.get(Job, found))

    world.write(wipe)
    assert world.row(Job, job_id).params == {"connectionId": "c", "credentials": "[wiped]"}
    assert world.row(Job, other).params == {"credentials": "not a secret of ours"}
    assert lifecycle.shown_params(world.row(Job, job_id))["credentials"] == "[redacted]"
