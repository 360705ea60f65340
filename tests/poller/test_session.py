from __future__ import annotations

import pytest

from poller.session import OUR_FEATURES, Registration, Session


def test_wanted_from_the_start_and_nothing_known():
    session = Session()
    assert session.wanted.is_set()
    assert not session.ready.is_set()
    with pytest.raises(RuntimeError):
        _ = session.current


def test_a_renewal_does_not_interrupt_the_registration_in_force():
    session = Session()
    session.established(Registration("a"))
    session.renew()
    assert session.ready.is_set()
    assert session.wanted.is_set()


def test_losses_count_until_a_poll_is_accepted():
    session = Session()
    for expected in (1, 2):
        session.established(Registration("a"))
        session.lost()
        session.lost()  # the reporter notices too: still one loss
        assert session.losses == expected
        assert not session.ready.is_set()
    session.established(Registration("a"))
    session.confirmed()
    assert session.losses == 0


def test_one_that_is_superseded_takes_nothing_and_reports_on():
    session = Session()
    assert not session.taking.is_set()
    session.established(Registration("a"))
    assert session.taking.is_set()
    session.superseded()
    assert not session.taking.is_set()
    assert session.ready.is_set()
    assert session.wanted.is_set()
    assert session.losses == 0
    session.established(Registration("a"))
    assert session.taking.is_set()
    session.lost()
    assert not session.taking.is_set()


def test_only_negotiated_features_are_had():
    registration = Registration("a", frozenset({"ack"}))
    assert registration.has("ack")
    assert not registration.has("receipts")
    names = {"longPoll", "ack", "receipts", "cancel", "control", "output", "instance", "signed", "sealed"}
    assert set(OUR_FEATURES) == names
