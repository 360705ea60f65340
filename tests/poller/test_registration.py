from __future__ import annotations

import base64

import pytest

import easyalert
from easyalert.delivery_key import new_delivery_key, public_delivery_key
from easyalert.sealing import load_private_key
from poller import registration as module
from poller.registration import Registrar
from tests.support.agent_home import API_KEY
from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests

INSTANCE = "0123456789abcdef.0123"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_CAPABILITIES_S", 0.1)
    monkeypatch.setattr(module, "_LOOK_S", 0.03)


def registrar(rig):
    return Registrar(rig.parts, INSTANCE).run


def registrations(server):
    return [seen.document for seen in server.of("register")]


def test_what_is_told_and_what_is_remembered(drive, plain_server):
    async def scenario(rig):
        rig.journal.leave_note("capabilities", ["script", "http"])
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        told = registrations(plain_server)[0]
        assert told["agentName"] == "agent-of-the-tests"
        assert told["version"] == easyalert.__version__
        assert told["platform"] == "Linux"
        assert told["capabilities"] == ["http", "script"]
        assert told["maxConcurrentJobs"] == 5
        assert base64.b64decode(told["publicKey"]) == public_delivery_key(rig.home.settings.delivery_key_path)
        assert told["publicKey"] != rig.key.text, "the journal's is another one"
        names = ["longPoll", "ack", "receipts", "cancel", "control", "output", "instance", "signed", "sealed"]
        assert told["features"] == names
        assert told["instance"] == INSTANCE
        assert rig.session.current.agent_id == "agt_1"
        assert not rig.session.current.features
        note = rig.journal.note("registration")
        assert (note["agentId"], note["features"]) == ("agt_1", [])

    drive(plain_server, scenario)


def test_a_new_delivery_key_is_told_and_none_is_offered_without_one(drive, plain_server):
    async def scenario(rig):
        path = rig.home.settings.delivery_key_path
        path.unlink()
        rig.journal.leave_note("capabilities", ["script"])
        rig.start(registrar(rig))
        await rig.until(lambda: len(registrations(plain_server)) == 1)
        assert "publicKey" not in registrations(plain_server)[0]
        assert "sealed" not in registrations(plain_server)[0]["features"]
        agent_key = load_private_key(rig.home.settings.agent_key_path, [API_KEY])
        for number in (2, 3):
            new_delivery_key(path, agent_key)
            await rig.until(lambda number=number: len(registrations(plain_server)) == number)
            told = registrations(plain_server)[-1]
            assert base64.b64decode(told["publicKey"]) == public_delivery_key(path)
            assert "sealed" in told["features"]
        await rig.until(rig.session.ready.is_set)

    drive(plain_server, scenario)


def test_features_are_what_both_sides_have(drive, plain_server):
    plain_server.fail(
        "register",
        Answer(b'{"data":{"agentId":"agt_1","features":["ack","longPoll","teleport"],"longPollSeconds":9}}'),
    )

    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        assert rig.session.current.features == {"ack", "longPoll"}
        assert rig.session.current.long_poll_s == 9
        assert rig.journal.note("registration")["features"] == ["ack", "longPoll"]

    drive(plain_server, scenario)


@pytest.mark.parametrize(("wanted", "granted"), [(5, 5), (0, 0)])
def test_the_shorter_long_poll_of_both_counts(drive, extended_server, wanted, granted):
    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        assert rig.session.current.long_poll_s == granted

    drive(extended_server, scenario, long_poll_seconds=wanted)


def test_capabilities_that_come_late_are_told_late(drive, plain_server):
    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        assert "capabilities" not in registrations(plain_server)[0]
        rig.journal.leave_note("capabilities", ["http"])
        await rig.until(lambda: len(registrations(plain_server)) == 2)
        assert rig.session.ready.is_set()  # polling went on
        rig.journal.leave_note("capabilities", ["http", "ssh"])
        await rig.until(lambda: len(registrations(plain_server)) == 3)
        await rig.parts.stop.wait(0.15)
        assert [told.get("capabilities") for told in registrations(plain_server)] == [None, ["http"], ["http", "ssh"]]

    drive(plain_server, scenario)


@pytest.mark.parametrize(
    "fault", [Status(503), Cut("before"), Answer(b"<html>"), Status(401), Status(404), Status(302)]
)
def test_nothing_ends_the_process(drive, plain_server, pauses, fault):
    plain_server.fail("register", *[fault] * 8)

    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        assert rig.condition.note()["state"] == "ok"
        assert rig.condition.note()["lastError"]

    drive(plain_server, scenario)
    assert len(plain_server.of("register")) == 9
    assert pauses[-1] > pauses[0]
    assert plain_server.of("heartbeat") == []  # no `offline` with a null id


def test_a_rejected_key_is_tried_ever_more_rarely_and_says_what_to_do(drive, plain_server, pauses):
    plain_server.always("register", Status(401))

    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(lambda: len(pauses) >= 12)
        assert "AGENT_API_KEY" in rig.condition.note()["state"]

    drive(plain_server, scenario)
    assert pauses[0] >= 2.5
    assert 22.5 <= max(pauses) <= 45, "results that wait must be delivered within a minute of its end"


def test_a_key_that_registers_and_is_then_refused_backs_off_too(drive, plain_server, pauses):
    async def scenario(rig):
        rig.start(registrar(rig))
        for _ in range(8):
            await rig.until(rig.session.ready.is_set)
            rig.session.lost()  # what polling does on 401
        assert len(pauses) >= 6
        assert pauses[5] > pauses[0]

    drive(plain_server, scenario)


def test_the_first_loss_is_answered_at_once(drive, plain_server, pauses):
    async def scenario(rig):
        rig.start(registrar(rig))
        for _ in range(4):
            await rig.until(rig.session.ready.is_set)
            rig.session.confirmed()
            rig.session.lost()
        await rig.until(rig.session.ready.is_set)

    drive(plain_server, scenario)
    assert pauses == []


def test_retry_after_is_obeyed_with_a_cap_and_interrupted_by_the_stop(drive, plain_server):
    plain_server.always("register", too_many_requests("86400"))

    async def scenario(rig):
        task = rig.start(registrar(rig))
        await rig.until(lambda: rig.condition.note()["lastError"])
        assert "45 s" in rig.condition.note()["lastError"]
        rig.parts.stop.set()
        await rig.until(task.done)

    drive(plain_server, scenario)


def test_the_stop_ends_a_registration_under_way(drive, plain_server):
    plain_server.always("register", Slow(20))

    async def scenario(rig):
        task = rig.start(registrar(rig))
        await rig.until(lambda: plain_server.of("register"))
        rig.parts.stop.set()
        await rig.until(task.done)

    drive(plain_server, scenario)


def test_a_list_that_vanishes_for_a_moment_is_not_told_as_nothing(drive, plain_server):
    async def scenario(rig):
        rig.journal.leave_note("capabilities", ["http"])
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        rig.journal.leave_note("capabilities", None)
        await rig.parts.stop.wait(0.15)
        assert len(registrations(plain_server)) == 1

    drive(plain_server, scenario)


IN_USE = Status(409, body=b'{"success":false,"error":"held by host edge-1","code":"key_in_use"}')


def test_while_another_one_holds_the_key_it_asks_again_by_itself_and_says_so_once(drive, plain_server, pauses, caplog):
    plain_server.fail("register", *[IN_USE] * 6)

    async def scenario(rig):
        with caplog.at_level("WARNING"):
            rig.start(registrar(rig))
            await rig.until(lambda: len(pauses) >= 3)
            note = rig.condition.note()
            assert note["keyInUse"].startswith("held by host edge-1. This agent asks again by itself")
            assert note["state"] == note["keyInUse"]
            await rig.until(rig.session.ready.is_set)
        assert rig.condition.note()["keyInUse"] is None
        assert len([r for r in caplog.records if "held by host" in r.getMessage()]) == 1

    drive(plain_server, scenario)
    assert len(plain_server.of("register")) == 7
    assert max(pauses) <= 10, "it must take over soon after the other one's end"


def test_one_that_is_superseded_registers_again_and_goes_on_reporting_meanwhile(drive, plain_server, pauses):
    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.taking.is_set)
        plain_server.always("register", IN_USE)
        rig.session.superseded()
        await rig.until(lambda: rig.condition.note()["keyInUse"])
        assert rig.session.ready.is_set()
        assert not rig.session.taking.is_set()
        plain_server.well("register")
        await rig.until(rig.session.taking.is_set)

    drive(plain_server, scenario)


def test_who_it_is_is_told_with_every_request_where_that_is_spoken(drive, extended_server):
    extended_server.features = ("longPoll", "instance")

    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        assert rig.parts.client.instance == INSTANCE
        assert rig.journal.note("registration")["instance"] == INSTANCE
        await rig.parts.client.poll("agt_1", wait=0, slots=1)

    drive(extended_server, scenario)
    assert extended_server.of("poll")[0].headers["x-agent-instance"] == INSTANCE


def test_a_plain_server_gets_no_header_it_does_not_know(drive, plain_server):
    async def scenario(rig):
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)
        await rig.parts.client.poll("agt_1")

    drive(plain_server, scenario)
    for seen in (*plain_server.of("register"), *plain_server.of("poll")):
        assert "x-agent-instance" not in seen.headers


def test_what_may_run_twice_is_told(drive, plain_server):
    async def scenario(rig):
        rig.journal.leave_note("repeatable", ["connection.test"])
        rig.journal.leave_note("capabilities", ["http"])
        rig.start(registrar(rig))
        await rig.until(rig.session.ready.is_set)

    drive(plain_server, scenario)
    assert registrations(plain_server)[0]["repeatable"] == ["connection.test"]
