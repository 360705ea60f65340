"""One attempt by itself; retries, redirects and certificates: tests/workers/executors/test_http*.py."""

from __future__ import annotations

import asyncio

import pytest

from easyalert.netguard.target import parse_target
from tests.support.raw_http import RawHttpServer
from tests.workers.executors.http_case import OPEN, answer, context
from workers.sdk.http_exchange import Attempt
from workers.sdk.http_redirects import Hop
from workers.sdk.web_steps import NoAnswer


def attempt(tmp_path, port, *, method="GET", seconds=20.0, **options):
    target = parse_target(f"http://127.0.0.1:{port}/", OPEN)
    return Attempt(context(tmp_path, {}), Hop(method, target, (), None), seconds, **options)


def carried_out(server, tmp_path, **options):
    async def go():
        async with server.running() as port:
            tried = attempt(tmp_path, port, **options)
            try:
                await tried.carry_out()
            except NoAnswer as error:
                return tried, error
            return tried, None

    return asyncio.run(go())


def test_an_answer_is_read_to_its_end(tmp_path):
    tried, error = carried_out(RawHttpServer(sends(answer(201, b"made", X_One="1"))), tmp_path)
    assert error is None
    assert tried.output()["statusCode"] == 201
    assert tried.output()["body"] == "made"
    assert tried.output()["headers"]["x-one"] == "1"
    assert tried.took_s > 0
    assert [step["step"] for step in tried.steps.report()] == ["tcp"]


def test_what_has_come_of_an_answer_that_is_cut_off_can_be_looked_at(tmp_path):
    cut = answer(200, b"x" * 100)[:-40]
    tried, error = carried_out(RawHttpServer(sends(cut)), tmp_path)
    assert error is not None
    assert tried.output()["body"] == "x" * 60


@pytest.mark.parametrize(
    ("method", "fate"), [("GET", ""), ("HEAD", ""), ("POST", "; the request may have taken effect")]
)
def test_whether_it_may_have_taken_effect_is_said_of_what_changes_something(tmp_path, method, fate):
    tried, error = carried_out(RawHttpServer(sends(b"")), tmp_path, method=method)
    assert error is not None
    assert tried.fate == fate
    assert tried.output() is None


def test_where_nobody_listens_nothing_was_sent(tmp_path):
    tried = attempt(tmp_path, 1, method="POST")
    with pytest.raises(NoAnswer):
        asyncio.run(tried.carry_out())
    assert tried.fate == "; nothing was sent"


def test_a_redirect_is_followed_only_where_that_is_wanted(tmp_path):
    server = RawHttpServer(sends(answer(302, Location="/there"), answer(200, b"there")))
    tried, _ = carried_out(server, tmp_path)
    assert tried.output()["redirectFollowed"] is False
    server = RawHttpServer(sends(answer(302, Location="/there"), answer(200, b"there")))
    tried, _ = carried_out(server, tmp_path, follow=True)
    assert tried.output()["body"] == "there"
    assert tried.followed == 1


def sends(*answers):
    left = list(answers)

    async def send(_reader, writer):
        writer.write(left.pop(0))
        await writer.drain()

    return send
