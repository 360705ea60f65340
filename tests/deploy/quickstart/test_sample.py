from __future__ import annotations

import pytest

from deploy.quickstart import sample
from deploy.quickstart.errors import QuickstartError


def test_the_first_start_puts_a_credential_into_the_vault_and_a_job_finds_it(api, operator):
    done = sample.run(operator, "agt_1", store=True)
    stored, found, script = api.submitted
    assert [item.action for item in done] == ["system.storeCredential", "connection.test", "script.bash"]
    assert stored["params"]["connectionId"] == found["connectionId"]
    assert len(stored["params"]["credentials"]["password"]) >= 24
    assert "echo" in script["params"]["script"]


def test_a_later_start_only_looks_for_it(api, operator):
    assert [item.action for item in sample.run(operator, "agt_1", store=False)] == ["connection.test", "script.bash"]


def test_the_steps_end_with_what_was_seen_here(operator):
    times = iter([10.0, 10.5, 20.0, 20.025])
    done = sample.run(operator, "agt_1", store=False, clock=lambda: next(times))
    assert done[-1].steps == [("created", 0.0), ("received", 7.5), ("result seen here", pytest.approx(25))]
    assert done[-1].stdout == "Hello\n"


def test_a_sample_that_fails_is_told_with_the_agents_reason(api, operator):
    api.outcomes["connection.test"] = {"status": "error", "result": {"error": "the vault is locked", "output": None}}
    with pytest.raises(QuickstartError, match=r"connection.test \(job_1\) ended with 'error': the vault is locked"):
        sample.run(operator, "agt_1", store=False)
