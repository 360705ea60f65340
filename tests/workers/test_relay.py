from __future__ import annotations

import pytest

from easyalert.runtime import this_process
from tests.support.agent_home import API_KEY
from tests.support.plain_server import PlainServer
from tests.workers.chain import Chain
from workers.jobs import JobRunner
from workers.toolbox import pack


@pytest.fixture
def server():
    server = PlainServer(api_key=API_KEY)
    yield server
    server.close()
    assert server.violations == []


def test_a_job_has_its_message_passed_on_with_the_agents_key(server, make_home):
    """The executor has the relay of its Context, and nothing else of the control plane."""
    chain = Chain(make_home(server.url))
    with chain.home.journal() as journal:
        runner = JobRunner(pack(chain.home.settings), journal, this_process())
        key = chain.take("notification.sendNotification", {"type": "slack", "message": "disk 91% on db-2"})
        runner.run(key)
        runner.close()
    result = chain.row(key).result
    assert result["status"] == "success", result
    assert server.notifications == [{"type": "slack", "message": "disk 91% on db-2"}]
    assert API_KEY not in str(result)
