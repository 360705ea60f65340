"""`easyalert-agent pause`: nothing new starts here, until resumed or a given time."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime, timedelta
from typing import Final

from cli.cancel import here
from cli.looking import settings_to_look
from easyalert import wakeup
from easyalert.errors import ConfigurationError
from easyalert.journal import Journal
from easyalert.journal.pause import pause_here

_SPAN: Final = re.compile(r"(\d{1,6})\s*([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_REASON_MAX_CHARS: Final = 500


def main(options: argparse.Namespace) -> int:
    """Pause. Raises ConfigurationError for an end that cannot be understood, JournalError."""
    settings, now = settings_to_look(), time.time()
    until = end_of(options.until, options.span, now)
    if not settings.journal_path.exists():  # opening it would make it
        raise ConfigurationError(f"no agent was ever started on {settings.state_dir}; set STATE_DIR to the agent's")
    reason = (options.reason or "").encode("utf-8", "replace").decode().strip()[:_REASON_MAX_CHARS] or None
    with Journal(settings.journal_path) as journal:
        pause = pause_here(journal, now, reason=reason, until=until, by=here())
    wakeup.notify(settings.wakeup_socket)
    ends = "; it ends by itself" if until is not None else "; end it with: easyalert-agent resume"
    print(f"{pause.sentence}: no new job starts, running ones go on{ends}")
    return 0


def end_of(until: str | None, span: str | None, now: float) -> float | None:
    """The end in epoch seconds; None: open. Raises ConfigurationError when it is no time, or over already."""
    if span is not None:
        seconds = span_of(span)
        if seconds is None:
            raise ConfigurationError(f"--for {span!r} is no span of time; write 90s, 30m, 2h or 1d")
        return now + seconds
    if until is None:
        return None
    try:
        end = _next(until.strip(), now) or datetime.fromisoformat(until.strip()).timestamp()
    except ValueError:
        raise ConfigurationError(f"--until {until!r} is no time; write 18:00 or 2026-01-31T18:00:00+01:00") from None
    if end <= now:
        raise ConfigurationError(f"--until {until!r} is over already")
    return end


def span_of(text: str) -> int | None:
    """Seconds of `90s`, `30m`, `2h`, `1d`; None for anything else, and for none."""
    found = _SPAN.fullmatch(text.strip())
    return None if found is None or int(found[1]) == 0 else int(found[1]) * _SECONDS[found[2]]


def _next(text: str, now: float) -> float | None:
    """The next time a clock on this machine shows HH:MM; None for another form. Raises ValueError for 25:00."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    moment = datetime.fromtimestamp(now).astimezone()
    end = moment.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return (end if end > moment else end + timedelta(days=1)).timestamp()
