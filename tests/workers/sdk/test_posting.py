"""One message over HTTPS; the executors' own tests show the rest (tests/workers/executors/test_slack.py, test_teams.py)."""

import httpx
import pytest

from easyalert.netguard.judge import NetworkPolicy
from tests.support.ports import free_port
from tests.support.teams_hook import TeamsHook
from tests.support.tls import throwaway_authority
from workers.executors.teams import TeamsExecutor
from workers.sdk.harness import Harness
from workers.sdk.posting import PAUSE_S, Answer, Post
from workers.sdk.result import success


@pytest.mark.parametrize(
    ("asked", "pause"),
    [("7", 7), ("0", 0), ("3600", 60), ("9" * 400, 60), ("", PAUSE_S), ("-1", PAUSE_S), ("1.5", PAUSE_S), ("٣", PAUSE_S),
     ("Wed, 21 Oct 2026 07:28:00 GMT", PAUSE_S)],
)  # fmt: skip
def test_how_long_a_429_is_waited_for(asked, pause):
    assert Answer(429, httpx.Headers([(b"retry-after", asked.encode())]), "").pause_s == pause


async def _twice(post, url):
    answers = [await post.send(url, {}, b"{}") for _ in range(2)]
    return success([answer.status for answer in answers])


@pytest.fixture
def context(tmp_path):
    harness = Harness(TeamsExecutor(), tmp_path, network_policy=NetworkPolicy(allow_private=True))
    return lambda **more: harness.context("sendMessage", {}, **more)


@pytest.mark.anyio
async def test_an_action_may_send_twice(context, tmp_path):
    authority = throwaway_authority(tmp_path, "localhost")
    with TeamsHook(authority.server_context()) as hook:
        post = Post(context(), "Teams", 10, ca_certificate=authority.root.read_text())
        result = await post.carry_out(_twice(post, f"{hook.origin}/x"))
    assert result.output == [404, 404]
    assert len(hook.calls) == 2


@pytest.mark.anyio
async def test_an_action_that_changes_nothing_leaves_no_doubt(context):
    post = Post(context(), "Teams", 10)
    result = await post.carry_out(_twice(post, f"https://localhost:{free_port()}/secret-secret"))
    assert result.error == "no answer from localhost (Connection refused)"
