"""The canary case of `script`: it gets no credential, so it prints the agent's own secret, in every spelling there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from tests.canaries.case import Case, Job, Secret

DRIBBLE = """
import os, sys, time
data = open({forms!r}, "rb").read()[:3000]
for at in range(0, len(data), 7):
    os.write(1 + at % 2, data[at : at + 7])
    if at % 70 == 0:
        time.sleep(0.01)
os.write(1, data)
"""
"""In pieces of seven bytes, so that each secret lies over the borders of reads and of chunks."""


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Printed whole, in pieces, on both streams, and left in files."""
    forms, held = quote(str(secret.forms)), Path(secret.forms).with_name("held")
    sent = {"env": {"TOKEN": secret.sent("script env")}, "args": [secret.sent("script arg")]}
    yield Case(
        jobs=(
            Job("script.bash", {"script": f"cat {forms}"}),
            Job("script.bash", {"script": f"cat {forms} >&2; exit 3"}, ends="error"),
            Job("script.python", {"script": DRIBBLE.format(forms=str(secret.forms))}),
            Job("script.bash", {"script": f"cp {forms} here; cp {forms} $TMPDIR/there; cat {forms} >&2"}),
            Job("script.bash", {"script": f"# {secret.sent('script text')}\ntrue", **sent}, redacts=False),
        ),
        hanging=Job("script.bash", {"script": f"cat {forms}; cp {forms} here; echo >> {quote(str(held))}; sleep 60"}),
        holds=lambda: len(held.read_bytes()) if held.exists() else 0,
    )
