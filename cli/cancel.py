"""`easyalert-agent jobs cancel ID`: end a job from its agent's machine; the control plane learns it by the result."""

from __future__ import annotations

import getpass

from cli.terminal import plain
from easyalert import wakeup
from easyalert.errors import EasyAlertError
from easyalert.journal import JobRow, Journal, State
from easyalert.settings import AgentSettings

_SAID = {
    "cancelled": "job {} is cancelled; it had not started",
    "marked": "job {} is being cancelled; easyalert-agent jobs {} shows when it is over",
    "known": "job {} is being cancelled already; easyalert-agent jobs {} shows when it is over",
}


class UnknownJob(EasyAlertError):  # noqa: N818 - the condition is the name
    """The journal has no such job (any more)."""


class NothingToCancel(EasyAlertError):  # noqa: N818 - the condition is the name
    """The job is over."""


def main(settings: AgentSettings, name: str) -> int:
    """Cancel the job with this id or key: its latest hand-out that is not over. Raises EasyAlertError."""
    with Journal(settings.journal_path) as journal:
        rows = journal.find(name)
        if not rows:
            raise UnknownJob(f"this agent's journal has no job {plain(name)}; see: easyalert-agent jobs")
        fate = journal.cancel(_latest(rows).key, f"{here()}, on the agent's machine")
    if fate is None or fate == "ended":
        raise NothingToCancel(f"job {plain(name)} is over; see: easyalert-agent jobs {plain(name)}")
    for socket in (settings.workers_socket, settings.wakeup_socket):
        wakeup.notify(socket)
    print(_SAID[fate].format(plain(name), plain(name)))
    return 0


def here() -> str:
    """Who is at the command line, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "somebody"


def _latest(rows: list[JobRow]) -> JobRow:
    alive = [row for row in rows if row.state in {State.TAKEN, State.QUEUED, State.STARTED}]
    return (alive or rows)[0]
