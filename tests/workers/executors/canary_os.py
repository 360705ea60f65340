"""The canary case of `os`: service managers that print the agent's own secret, in every spelling, wherever they can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from tests.canaries.case import Case, Job, Secret

_COMMON = """#!/bin/sh
spill() {{ cat {forms}; cat {forms} >&2; }}
act() {{
    spill
    if [ "$1" = slow ]; then echo >>{held}; sleep 60; fi
    if [ "$1" = bad ]; then exit 1; fi
    exit 0
}}
"""
_RC_SERVICE = """
[ "$1" = --exists ] && exit 0
[ "$2" = status ] && {{ spill; exit 3; }}
act "$1"
"""
_SYSTEMCTL = """
for name; do :; done
case "$3" in
show) printf 'Id=%s.service\\nLoadState=loaded\\nActiveState=inactive\\nSubState=dead\\n' "$name" ;;
status) spill ;;
*) act "$name" ;;
esac
"""


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Of either manager: which one is used depends on the machine that the test runs on."""
    folder, held = secret.forms.with_name("bin"), secret.forms.with_name("held-os")
    folder.mkdir(exist_ok=True)
    for name, text in (("rc-service", _RC_SERVICE), ("systemctl", _SYSTEMCTL)):
        (folder / name).write_text((_COMMON + text).format(forms=quote(str(secret.forms)), held=quote(str(held))))
        (folder / name).chmod(0o755)
    extra = {"note": secret.sent("os parameter that nobody reads")}
    yield Case(
        jobs=(
            Job("os.stopService", {"serviceName": "good", **extra}),
            Job("os.stopService", {"serviceName": "bad", **extra}, ends="error"),
            Job("os.status", {"serviceName": "good"}, redacts=False),
            Job("os.restartOS", {"approved": secret.sent("os approval")}, ends="error", redacts=False),
        ),
        hanging=Job("os.stopService", {"serviceName": "slow"}),
        holds=lambda: len(held.read_bytes()) if held.exists() else 0,
    )
