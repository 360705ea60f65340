from __future__ import annotations

from dataclasses import replace

import pytest

from workers.sdk.services import Unit, denied, outcome, undecided

RUNNING = Unit("a.service", "loaded", "active", "running", "simple", main_pid=7)


def test_what_stays_up_is_as_asked():
    assert outcome("start", RUNNING, RUNNING) is None
    assert outcome("restart", RUNNING, replace(RUNNING, active="activating", sub="start")) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"active": "failed", "result": "signal", "exit_status": 9}, "failed right after its start (signal, status 9)"),
        ({"sub": "auto-restart"}, "again and again"),
        ({"restarts": 1}, "again and again"),
        ({"main_pid": 8}, "again and again"),
        ({"active": "inactive", "sub": "dead"}, "ended by itself"),
    ],
)
def test_what_does_not_is_said(changes, words):
    assert words in (outcome("start", RUNNING, replace(RUNNING, **changes)) or "")


@pytest.mark.parametrize("kind", ["forking", "notify"])
def test_a_service_that_starts_in_two_steps_may_change_its_process(kind):
    first = replace(RUNNING, kind=kind)
    assert outcome("start", first, replace(first, main_pid=8)) is None


def test_a_service_that_died_of_its_stop_is_stopped_and_one_that_came_back_is_not():
    assert outcome("stop", RUNNING, replace(RUNNING, active="failed")) is None
    assert outcome("stop", RUNNING, RUNNING) == "is active (running) after it was stopped"


@pytest.mark.parametrize(
    ("text", "is_denied", "is_undecided"),
    [
        ("Failed to start a.service: Access denied", True, False),
        ("Failed to start a.service: Interactive authentication required.", True, False),
        (" * a: superuser access required", True, False),
        ("Failed to start a.service: Connection timed out", False, True),
        ("Failed to activate service 'org.freedesktop.PolicyKit1': timed out", False, True),
        ("Job for a.service failed because a timeout was exceeded.", False, False),
    ],
)
def test_words_about_rights(text, is_denied, is_undecided):
    assert (denied(text), undecided(text)) == (is_denied, is_undecided)
