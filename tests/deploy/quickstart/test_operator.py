from __future__ import annotations

import pytest

from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.operator import Operator
from tests.support.ports import free_port


def test_healthy_only_when_it_answers_ok(api, operator):
    assert operator.healthy()
    api.answers["/api/v1/health/healthz"] = (503, b"")
    assert not operator.healthy()
    with Operator(f"http://127.0.0.1:{free_port()}") as nobody:
        assert not nobody.healthy()


def test_a_job_goes_to_the_agent_with_its_connection(api, operator):
    assert operator.submit("connection.test", "agt_1", {}, "conn-1") == "job_1"
    assert operator.submit("script.bash", "agt_1", {"script": "true"}) == "job_2"
    assert api.submitted == [
        {"actionType": "connection.test", "agentId": "agt_1", "params": {}, "connectionId": "conn-1"},
        {"actionType": "script.bash", "agentId": "agt_1", "params": {"script": "true"}},
    ]


def test_waiting_jobs_of_others_are_not_counted(operator):
    assert operator.waiting("agt_1") == 2


@pytest.mark.parametrize("state", ["success", "error", "timed_out", "cancelled", "in_doubt", "expired"])
def test_every_final_state_ends_the_wait(api, operator, state):
    api.outcomes["script.bash"] = {"status": state}
    assert operator.wait(operator.submit("script.bash", "agt_1", {}), 5)["status"] == state


def test_a_job_that_stays_unfinished_is_told_with_its_reason(api, operator):
    api.outcomes["script.bash"] = {"status": "pending", "why": {"sentence": "every agent of the pool is busy"}}
    job = operator.submit("script.bash", "agt_1", {})
    with pytest.raises(QuickstartError, match=r"job_1 is still 'pending' after 0 s: every agent of the pool is busy"):
        operator.wait(job, 0.05)


def test_a_refusal_is_told_in_the_servers_words(api):
    with (
        Operator(api.url, "wrong") as stranger,
        pytest.raises(QuickstartError, match=r"\(401\): this token is not known"),
    ):
        stranger.agent("agt_1")


@pytest.mark.parametrize("answer", [(200, b"<html>"), (200, b"[]"), (200, b'{"success": true}'), (500, b"")])
def test_an_answer_that_is_none_is_an_error(api, operator, answer):
    api.answers["/api/v1/agents/agt_1"] = answer
    with pytest.raises(QuickstartError, match="control plane"):
        operator.agent("agt_1")


def test_nobody_there_is_a_sentence_without_the_token():
    with (
        Operator(f"http://127.0.0.1:{free_port()}", "ea_op_hidden") as nobody,
        pytest.raises(QuickstartError) as caught,
    ):
        nobody.job("job_1")
    assert "did not answer" in str(caught.value)
    assert "ea_op_hidden" not in str(caught.value)
