from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable

import pytest

from easyalert.client import ControlPlaneClient
from easyalert.errors import JournalError, Refused
from easyalert.journal.pause import ordered_pause, pause_here, resume_here
from easyalert.runtime import Stop
from heartbeat import beat
from heartbeat.beat import Heart
from heartbeat.components import Components
from heartbeat.metrics import HostMetrics
from tests.support.agent_home import AgentHome
from tests.support.faults import Answer, Slow, Status, too_many_requests
from tests.support.plain_server import PlainServer

REGISTRATION = {"agentId": "agt_1", "features": []}


class Recorder:
    """A client whose answers the test chooses."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: list[dict] = []

    async def heartbeat(self, request) -> dict:
        self.sent.append(request.wire())
        if self.errors:
            raise self.errors.pop(0)
        return {}


def live(
    home: AgentHome, scenario: Callable[[Stop], Awaitable[None]], client=None, journal=None, interval: float = 0.4
) -> None:
    """Run a heart beside the scenario, then stop it."""

    async def both() -> None:
        stop = Stop()
        # below what a person may set, to save time
        settings = home.settings.model_copy(update={"heartbeat_interval": interval})
        components = Components(settings)
        sender = client or ControlPlaneClient(home.settings)
        with contextlib.closing(components), journal or home.journal() as opened:
            heart = Heart(settings, opened, sender, components=components, metrics=HostMetrics())
            running = asyncio.create_task(heart.run(stop))
            try:
                await scenario(stop)
            finally:
                stop.set()
                await asyncio.wait_for(running, 10)
                if client is None:
                    await sender.close()

    asyncio.run(both())


async def until(probe: Callable[[], object], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not probe():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)


def register(home: AgentHome, **more: object) -> None:
    with home.journal() as journal:
        journal.leave_note("registration", {**REGISTRATION, **more})


def statuses(server: PlainServer) -> list[str]:
    return [request.document["status"] for request in server.of("heartbeat")]


def test_first_beat_right_after_registration_then_offline_once(make_home, plain_server):
    home = make_home(plain_server.url)

    async def scenario(_stop):
        await asyncio.sleep(0.2)
        assert plain_server.of("heartbeat") == []
        register(home)
        await until(lambda: plain_server.heartbeats)  # the interval is 30 s

    live(home, scenario, interval=30)
    assert statuses(plain_server) == ["online", "offline"]


def test_never_registered_says_nothing_not_even_offline(make_home, plain_server):
    home = make_home(plain_server.url)

    async def scenario(_stop):
        await asyncio.sleep(0.15)

    live(home, scenario)
    assert plain_server.seen == []


def test_it_beats_again_and_again(make_home, plain_server):
    home = make_home(plain_server.url)
    register(home)

    async def scenario(_stop):
        await until(lambda: len(plain_server.heartbeats) >= 3)

    live(home, scenario)


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 30.0), (0.5, 28.5), (1.0, 27.0)])
def test_the_jitter_only_ever_shortens_the_interval(make_home, drawn, seconds):
    home = make_home("http://127.0.0.1:1", heartbeat_interval=30)
    with contextlib.closing(Components(home.settings)) as components, home.journal() as journal:
        heart = Heart(
            home.settings, journal, Recorder(), components=components, metrics=HostMetrics(), random_=lambda: drawn
        )
        assert heart._interval() == pytest.approx(seconds)


def test_a_hanging_server_costs_its_timeout_and_nothing_more(make_home, plain_server, monkeypatch):
    monkeypatch.setattr(beat, "BEAT_TIMEOUT_S", 4.0)
    home = make_home(plain_server.url)
    register(home)
    plain_server.fail("heartbeat", Slow(30))

    async def scenario(_stop):
        await until(lambda: len(plain_server.of("heartbeat")) >= 2, within=20)

    live(home, scenario, interval=5)
    first, second = (request.at for request in plain_server.of("heartbeat")[:2])
    assert 4 <= second - first < 4 + 4.5, "5 s from beat to beat, not 4 s and then 5"


def test_the_health_file_is_touched_after_an_answer_only(make_home, plain_server, caplog):
    home = make_home(plain_server.url)
    register(home)
    plain_server.fail("heartbeat", Status(503))

    async def scenario(_stop):
        with home.journal() as journal:
            await until(lambda: (journal.note("heartbeat") or {}).get("lastError"))
            assert not home.settings.heartbeat_file.exists()
            assert journal.note("heartbeat").get("lastSuccessAt") is None
            await until(home.settings.heartbeat_file.exists)
            assert time.time() - home.settings.heartbeat_file.stat().st_mtime < 60
            assert abs(journal.note("heartbeat")["lastSuccessAt"] - time.time()) < 60
            assert "503" in journal.note("heartbeat")["lastError"]

    with caplog.at_level(logging.INFO):
        live(home, scenario)
    assert "answered again" in caplog.text


def test_an_old_health_file_is_not_freshened_by_a_failure(make_home, plain_server):
    home = make_home(plain_server.url)
    register(home)
    home.settings.heartbeat_file.touch()
    os.utime(home.settings.heartbeat_file, (1000, 1000))
    plain_server.always("heartbeat", Status(500))

    async def scenario(_stop):
        await until(lambda: len(plain_server.of("heartbeat")) >= 2)

    live(home, scenario)
    assert home.settings.heartbeat_file.stat().st_mtime == 1000


def test_a_captive_portals_page_does_not_make_the_agent_look_healthy(make_home, plain_server):
    home = make_home(plain_server.url)
    register(home)
    plain_server.always("heartbeat", Answer(b"<html>Log in to this network</html>"))

    async def scenario(_stop):
        with home.journal() as journal:
            await until(lambda: len(plain_server.of("heartbeat")) >= 2)
            assert not home.settings.heartbeat_file.exists()
            assert "page" in journal.note("heartbeat")["lastError"]
            plain_server.well("heartbeat")
            await until(home.settings.heartbeat_file.exists)

    live(home, scenario)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_backs_off_until_the_poller_has_registered_anew(make_home, plain_server, code):
    home = make_home(plain_server.url)
    register(home)
    plain_server.fail("heartbeat", Status(code))

    async def scenario(_stop):
        await until(lambda: plain_server.of("heartbeat"))
        await asyncio.sleep(0.3)
        assert len(plain_server.of("heartbeat")) == 1
        register(home, at=2)
        await until(lambda: plain_server.heartbeats)

    live(home, scenario, interval=10)
    assert statuses(plain_server) == ["online", "online", "offline"]


def test_a_pause_asked_for_is_kept_but_capped(make_home, plain_server, monkeypatch):
    monkeypatch.setattr(beat, "RATE_LIMIT_CAP_S", 0.8)
    home = make_home(plain_server.url)
    register(home)
    plain_server.fail("heartbeat", too_many_requests("3600"))

    async def scenario(_stop):
        await until(lambda: plain_server.heartbeats)

    live(home, scenario)
    first, second = (request.at for request in plain_server.of("heartbeat")[:2])
    assert 0.75 <= second - first < 20, "not the 45 s that are the cap otherwise"


def test_a_stop_cuts_off_the_beat_under_way_and_says_offline_at_once(make_home, plain_server):
    home = make_home(plain_server.url)
    register(home)
    plain_server.fail("heartbeat", Slow(30))

    async def scenario(_stop):
        await until(lambda: plain_server.of("heartbeat"))

    begun = time.monotonic()
    live(home, scenario, interval=30)
    assert time.monotonic() - begun < 25, "the answer takes 30 s"
    assert statuses(plain_server) == ["online", "offline"]


def test_an_unreachable_server_does_not_delay_the_end(make_home, plain_server, monkeypatch):
    monkeypatch.setattr(beat, "OFFLINE_TIMEOUT_S", 0.3)
    home = make_home(plain_server.url)
    register(home)

    async def scenario(_stop):
        await until(lambda: plain_server.heartbeats)
        plain_server.always("heartbeat", Slow(30))

    begun = time.monotonic()
    live(home, scenario, interval=30)
    assert time.monotonic() - begun < 25, "the answer takes 30 s"


def test_more_is_said_only_where_the_server_offered_a_feature(make_home):
    home = make_home("http://127.0.0.1:1")
    register(home, features=["ack"])
    with home.journal() as journal:
        journal.leave_note("auditHead", {"seq": 7, "hash": "a" * 64})
        journal.leave_note(
            "isolation", {"state": "scripts refused", "mode": "refused", "asked": "userns", "exposed": []}
        )
    recorder = Recorder()

    async def scenario(_stop):
        await until(lambda: recorder.sent)

    live(home, scenario, recorder)
    assert recorder.sent[0]["audit"] == {"seq": 7, "hash": "a" * 64}
    assert recorder.sent[0]["components"]["redis"] == "unavailable"
    assert recorder.sent[0]["components"]["isolation"] == "scripts refused"
    assert recorder.sent[0]["scriptIsolation"] == {"mode": "refused", "asked": "userns", "exposed": []}
    assert recorder.sent[0]["maxConcurrentJobs"] == 5
    assert recorder.sent[-1]["status"] == "offline"


def test_a_final_refusal_does_not_end_the_heart(make_home):
    home = make_home("http://127.0.0.1:1")
    register(home)
    recorder = Recorder(Refused("no such path", status=404))

    async def scenario(_stop):
        await until(lambda: len(recorder.sent) >= 2)

    live(home, scenario, recorder)


def test_a_journal_that_fails_does_not_silence_the_heart(make_home, monkeypatch):
    home = make_home("http://127.0.0.1:1")
    register(home)
    recorder = Recorder()
    journal = home.journal()

    def broken(*_):
        raise JournalError("disk I/O error")

    async def scenario(_stop):
        await until(lambda: recorder.sent)
        for name in ("figures", "leave_note", "note"):
            monkeypatch.setattr(journal, name, broken)
        await until(lambda: len(recorder.sent) >= 2)

    live(home, scenario, recorder, journal)


def test_while_something_is_not_ok_the_next_beats_come_sooner_and_then_rarer(make_home, monkeypatch):
    """Workers that are still starting at the first beat do not make the agent look degraded for a whole interval."""
    monkeypatch.setattr(beat, "UNWELL_FIRST_S", 0.05)
    home = make_home("http://127.0.0.1:1")
    register(home, features=["ack"])
    recorder = Recorder()
    times: list[float] = []

    async def scenario(_stop: Stop) -> None:
        for count in range(1, 4):
            await until(lambda count=count: len(recorder.sent) >= count)
            times.append(time.monotonic())

    live(home, scenario, client=recorder, interval=60)
    assert recorder.sent[0]["components"]["redis"] != "ok"
    assert times[2] - times[0] < 30, "not at the end of the interval"


def test_while_all_is_ok_beats_keep_their_interval(make_home, monkeypatch):
    monkeypatch.setattr(beat, "UNWELL_FIRST_S", 0.05)
    home = make_home("http://127.0.0.1:1")
    register(home)  # without extensions there is nothing to say about components
    recorder = Recorder()

    async def scenario(_stop: Stop) -> None:
        await until(lambda: recorder.sent)
        await asyncio.sleep(0.3)
        assert len(recorder.sent) == 1

    live(home, scenario, client=recorder, interval=60)


# ---- orders and pauses ----------------------------------------------------------------------------------------------


class Ordering(Recorder):
    """Answers with orders."""

    def __init__(self, answer: dict) -> None:
        super().__init__()
        self.answer = answer

    async def heartbeat(self, request) -> dict:
        await super().heartbeat(request)
        return self.answer


def test_orders_are_left_to_the_poller_until_they_are_over(make_home):
    home = make_home("http://127.0.0.1:1")
    register(home, features=["cancel", "control"])
    client = Ordering({"drain": {"reason": "moves"}, "cancelJobs": [{"jobId": "a", "attempt": 1}]})
    with home.journal() as journal:

        async def scenario(_stop):
            await until(lambda: journal.note("control"))
            assert ordered_pause(journal, time.time()).reason == "moves"
            assert journal.note("control")["cancelJobs"] == [{"jobId": "a", "attempt": 1}]
            client.answer = {"drain": None, "cancelJobs": []}
            await until(lambda: ordered_pause(journal, time.time()) is None)

        live(home, scenario, client)


def test_a_plain_servers_answer_ends_the_orders_of_an_earlier_one(make_home, plain_server):
    home = make_home(plain_server.url)
    register(home)
    with home.journal() as journal:
        journal.leave_note("control", {"drain": {"reason": "for ever", "until": None}})

        async def scenario(_stop):
            await until(lambda: journal.note("control") is None)

        live(home, scenario)


def test_a_pause_is_told_at_once_and_so_is_its_end(make_home, monkeypatch):
    monkeypatch.setattr(beat, "PAUSE_LOOK_S", 0.02)
    home = make_home("http://127.0.0.1:1")
    register(home, features=["control"])
    client = Recorder()
    with home.journal() as journal:

        async def scenario(_stop):
            await until(lambda: client.sent)
            assert "paused" not in client.sent[-1]
            pause_here(journal, time.time(), reason="disk", until=time.time() + 60, by="ada")
            await until(lambda: "paused" in client.sent[-1])
            assert client.sent[-1]["paused"]["reason"] == "disk"
            assert 50 < client.sent[-1]["paused"]["remainingSeconds"] <= 60
            resume_here(journal)
            await until(lambda: "paused" not in client.sent[-1])

        live(home, scenario, client, interval=30)


def test_without_the_feature_a_pause_is_not_told(make_home):
    home = make_home("http://127.0.0.1:1")
    register(home, features=["ack"])
    client = Recorder()
    with home.journal() as journal:
        pause_here(journal, time.time(), reason="disk", until=None, by="ada")

        async def scenario(_stop):
            await until(lambda: client.sent)
            assert "paused" not in client.sent[-1]

        live(home, scenario, client)


def test_it_names_itself_as_the_poller_has_registered(make_home, plain_server):
    home = make_home(plain_server.url)
    with home.journal() as journal:
        journal.leave_note("registration", {**REGISTRATION, "instance": "0123456789abcdef.0123"})

    async def scenario(_stop):
        await until(lambda: plain_server.of("heartbeat"))

    live(home, scenario)
    assert {seen.headers.get("x-agent-instance") for seen in plain_server.of("heartbeat")} == {"0123456789abcdef.0123"}


def test_that_another_one_holds_the_key_is_noted_and_logged_once(make_home, plain_server, caplog):
    home = make_home(plain_server.url)
    plain_server.always("heartbeat", Status(409, body=b'{"code":"key_in_use","error":"held by host edge-1"}'))
    with home.journal() as journal:
        journal.leave_note("registration", REGISTRATION)

    async def scenario(_stop):
        await until(lambda: len(plain_server.of("heartbeat")) >= 3)

    live(home, scenario, interval=0.05)
    with home.journal() as journal:
        assert journal.note("heartbeat")["lastError"] == "held by host edge-1"
    assert len([r for r in caplog.records if "a heartbeat failed: held by host edge-1" in r.getMessage()]) == 1
