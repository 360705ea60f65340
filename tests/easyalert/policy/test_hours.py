from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.policy.hours import DAYS, Hours, parse_days, parse_span

VIENNA = ZoneInfo("Europe/Vienna")
EVERY_DAY = frozenset(range(7))


def at(text, zone=VIENNA):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("days", "spans", "moment", "holds"),
    [
        # 2026-01-05 is a Monday
        ("mon-fri", ["08:00-18:00"], "2026-01-05T08:00", True),
        ("mon-fri", ["08:00-18:00"], "2026-01-05T07:59:59", False),
        ("mon-fri", ["08:00-18:00"], "2026-01-05T17:59:59", True),
        ("mon-fri", ["08:00-18:00"], "2026-01-05T18:00", False),
        ("mon-fri", ["08:00-18:00"], "2026-01-10T12:00", False),
        ("mon-fri", ["06:00-07:00", "20:00-21:00"], "2026-01-05T20:30", True),
        ("sat-mon", ["00:00-24:00"], "2026-01-05T23:59:59", True),
        ("sat-mon", ["00:00-24:00"], "2026-01-06T00:00", False),
        # over midnight: the day is the one on which the window opens
        ("fri", ["22:00-06:00"], "2026-01-09T22:00", True),
        ("fri", ["22:00-06:00"], "2026-01-10T05:59", True),
        ("fri", ["22:00-06:00"], "2026-01-10T06:00", False),
        ("fri", ["22:00-06:00"], "2026-01-09T05:00", False),
        ("sun", ["22:00-06:00"], "2026-01-05T03:00", True),
        ("fri", ["22:00-24:00"], "2026-01-10T00:00", False),
    ],
)
def test_when_a_window_is_open(days, spans, moment, holds):
    hours = Hours(parse_days([days]), tuple(map(parse_span, spans)), VIENNA)
    assert hours.holds(at(moment)) is holds
    assert hours.holds(at(moment).astimezone(UTC)) is holds, "the zone of the question does not matter"


def test_the_clock_on_the_wall_counts_when_it_is_changed():
    hours = Hours(EVERY_DAY, (parse_span("02:30-03:30"),), VIENNA)
    # 2026-03-29: 02:00 becomes 03:00; the window is open for half an hour
    opened = [
        minute for minute in range(240) if hours.holds(datetime(2026, 3, 29, tzinfo=UTC) + timedelta(minutes=minute))
    ]
    assert opened == list(range(60, 90))
    # 2026-10-25: 03:00 becomes 02:00; 02:30-03:00 is there twice
    opened = [
        minute for minute in range(240) if hours.holds(datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=minute))
    ]
    assert opened == [*range(30, 60), *range(90, 150)]


@pytest.mark.parametrize("word", ["", "monday", "Mon", "mon-", "-fri", "mon-fry", "mon fri", "1"])
def test_what_is_no_day(word):
    with pytest.raises(ValueError, match="write one of mon, tue"):
        parse_days([word])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8-18",
        "8:00-18:00",
        "08:00",
        "08:00-25:00",
        "24:00-08:00",
        "08:60-09:00",
        "08:00 - 18:00",
        "08:00-24:01",
        "٠٨:00-18:00",
    ],
)
def test_what_are_no_hours(text):
    with pytest.raises(ValueError, match="write them like 08:00-18:00"):
        parse_span(text)


def test_an_empty_span_is_refused():
    with pytest.raises(ValueError, match="00:00-24:00"):
        parse_span("08:00-08:00")


def test_as_people_write_it():
    hours = Hours(parse_days(["mon-wed", "sat"]), (parse_span("22:00-06:00"), parse_span("12:00-24:00")), VIENNA)
    assert hours.text() == "mon,tue,wed,sat 22:00-06:00, 12:00-24:00 Europe/Vienna"
    assert hours.local(datetime(2026, 1, 5, 2, 12, tzinfo=UTC)) == "mon 03:12 Europe/Vienna"
    assert Hours(EVERY_DAY, (parse_span("00:00-24:00"),), VIENNA).text().startswith("every day")


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(946_684_800, 4_102_444_800),
)
def test_a_window_and_the_rest_of_the_week_never_hold_at_once_and_always_one_does(begin, end, days, moment):
    if begin == end:
        return
    hours = Hours(frozenset(days), ((begin, end),), ZoneInfo("UTC"))
    rest = Hours(frozenset(days), ((end, begin),), ZoneInfo("UTC"))
    other = Hours(EVERY_DAY - days, ((0, 1440),), ZoneInfo("UTC"))
    asked = datetime.fromtimestamp(moment, UTC)
    if len(days) == 7:
        assert hours.holds(asked) != rest.holds(asked)
    elif begin < end:
        assert not (hours.holds(asked) and other.holds(asked))


def test_names_of_days_are_those_of_python():
    assert DAYS[datetime(2026, 1, 5, tzinfo=UTC).weekday()] == "mon"
