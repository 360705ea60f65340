"""The canary case of `custom`: actions that send the credential back as JSON, as text, as their log, and in files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from tests.canaries.case import Case, Job, Secret

_ACTIONS = {
    "echo": "cat | tee here $TMPDIR/there",
    "log": "cat >&2",
    "text": "echo not JSON; cat",
    "fail": "cat | tee /dev/stderr; exit 3",
    "hang": "cat | tee here >&2; echo >>{held}; sleep 60",
}


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Each of them gets the credential."""
    folder, held = secret.forms.with_name("actions"), secret.forms.with_name("held-custom")
    folder.mkdir(mode=0o755, exist_ok=True)
    for name, text in _ACTIONS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text.format(held=quote(str(held)))}\n")
        (folder / name).chmod(0o755)
        (folder / f"{name}.toml").write_text("needsCredential = true\n")
        (folder / f"{name}.toml").chmod(0o644)
    credential = {"token": secret("custom token"), "key": secret("custom key", lines=True)}
    params = {"site": "example"}
    yield Case(
        jobs=(
            Job("custom.echo", params, credential),
            Job("custom.log", params, credential),
            Job("custom.text", params, credential),
            Job("custom.fail", params, credential, ends="error"),
            Job("custom.none", {"site": secret.sent("custom parameter")}, credential, ends="error", redacts=False),
        ),
        hanging=Job("custom.hang", params, credential),
        holds=lambda: len(held.read_bytes()) if held.exists() else 0,
    )
