"""`easyalert-agent resume`: end a pause made with `easyalert-agent pause`."""

from __future__ import annotations

import argparse
import time

from cli.cancel import here
from cli.looking import settings_to_look
from easyalert import wakeup
from easyalert.journal import Journal
from easyalert.journal.pause import local_pause, ordered_pause, resume_here


def main(_options: argparse.Namespace) -> int:
    """Resume; not being paused is no error. Raises JournalError."""
    settings, now = settings_to_look(), time.time()
    if not settings.journal_path.exists():  # opening it would make it
        print("this agent is not paused")
        return 0
    with Journal(settings.journal_path) as journal:
        paused, ordered = local_pause(journal, now), ordered_pause(journal, now)
        if paused is not None:
            resume_here(journal, by=here())
        still = local_pause(journal, now)
    wakeup.notify(settings.wakeup_socket)
    if still is not None:
        print(f"{still.sentence}: that ends with the restart, not by resuming")
        return 0
    print("jobs are taken again" if paused is not None else "this agent is not paused here")
    if ordered is not None:
        print(f"but it is {ordered.sentence}: enable it there")
    return 0
