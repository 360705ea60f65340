from __future__ import annotations

import pytest

from tests.workers.sdk.test_services_systemd import Said
from workers.sdk.services import Unit
from workers.sdk.services_openrc import OpenRC


@pytest.mark.parametrize(
    ("code", "active"),
    [(0, "active"), (3, "inactive"), (4, "deactivating"), (8, "activating"), (16, "inactive"), (32, "failed"), (1, "")],
)
def test_exit_codes_are_states(code, active):
    unit = OpenRC("rc-service").look("a", lambda argv: Said(exit_code=code if argv[-1] == "status" else 0))
    assert (unit.load, unit.active) == ("loaded", active)


def test_a_service_that_is_not_there_is_not_asked_about():
    openrc = OpenRC("rc-service")
    unit = openrc.look("a", lambda argv: Said(exit_code=1) if "--exists" in argv else pytest.fail("asked"))
    assert openrc.refusal("stop", unit) == "this agent's host has no service 'a'"


def test_only_what_outlives_the_job_is_done():
    openrc, unit = OpenRC("rc-service"), Unit("a", "loaded", "active")
    assert [openrc.refusal(verb, unit) is None for verb in ("stop", "start", "restart")] == [True, False, False]
    assert openrc.refusal(None, unit) is None
