"""Time windows: days, hours and a time zone, as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True)
class Hours:
    """When a rule holds, on the clocks of `zone`. A span over midnight belongs to the day on which it begins."""

    days: frozenset[int]
    """0 is Monday."""
    spans: tuple[tuple[int, int], ...]
    """First minute of the day, and the first one after it."""
    zone: ZoneInfo

    def holds(self, at: datetime) -> bool:
        """Whether the window is open at an instant (aware). By the clock on the wall: 02:30 may be twice, or never."""
        local = at.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        for begin, end in self.spans:
            if begin < end:
                if today in self.days and begin <= minute < end:
                    return True
            elif (today in self.days and minute >= begin) or ((today - 1) % 7 in self.days and minute < end):
                return True
        return False

    def local(self, at: datetime) -> str:
        """The instant as those clocks show it: `tue 03:12 Europe/Vienna`."""
        local = at.astimezone(self.zone)
        return f"{DAYS[local.weekday()]} {local:%H:%M} {self.zone.key}"

    def text(self) -> str:
        """As people write it."""
        days = "every day" if len(self.days) == 7 else ",".join(DAYS[day] for day in sorted(self.days))
        return f"{days} {', '.join(f'{_clock(begin)}-{_clock(end)}' for begin, end in self.spans)} {self.zone.key}"


def parse_days(words: Sequence[str]) -> frozenset[int]:
    """`["mon-fri", "sun"]`; a range may go over the week's end. Raises ValueError with a sentence."""
    found: set[int] = set()
    for word in words:
        first, dash, last = word.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"'{word}' is no day: write one of {', '.join(DAYS)}, or a range like mon-fri")
        day, end = DAYS.index(first), DAYS.index(last if dash else first)
        found.add(day)
        while day != end:
            day = (day + 1) % 7
            found.add(day)
    return frozenset(found)


def parse_span(text: str) -> tuple[int, int]:
    """`08:00-18:00`, minutes of the day; `22:00-06:00` goes over midnight. Raises ValueError with a sentence."""
    match = _SPAN.fullmatch(text)
    sentence = f"'{text}' are no hours: write them like 08:00-18:00, or 22:00-06:00 over midnight"
    if match is None:
        raise ValueError(sentence)
    begin, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if begin >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError(sentence)
    if begin == end:
        raise ValueError(f"'{text}' is empty: leave hours out, or write 00:00-24:00, for the whole day")
    return begin, end


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
