"""Writes the reference pages that are made from code, so that they cannot drift from it: `docs/settings.md` and
`docs/executors/`.

Run by `scripts/docs`; a test compares the pages with what this module would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic_settings import BaseSettings

from controlplane.settings import ControlPlaneSettings
from docs.executor_pages import EXECUTORS_FOLDER, executor_pages
from docs.words import default_of, meaning_of, type_of
from easyalert.settings import AgentSettings

SETTINGS_PAGE = Path(__file__).parent / "settings.md"

_HEAD = """# Settings

<!-- Made by scripts/docs from the settings classes. Change those, not this page. -->

## The agent

Environment variables; names are case-sensitive. A file `.env` in the working directory is read too, the environment
wins, and names in it that are not listed here are ignored. A blank value means the default. A boolean is `true`, `1`,
`yes`, `on` or the opposite. A wrong value stops the start with one sentence that names the variable and never shows the
value.

"""

_CONTROL_PLANE_HEAD = """
## The control plane

Environment variables; options of `easyalert-controlplane` win over them.

"""


def settings_page() -> str:
    """The whole of `docs/settings.md`."""
    return _HEAD + _table(AgentSettings) + _CONTROL_PLANE_HEAD + _table(ControlPlaneSettings)


def _table(settings: type[BaseSettings]) -> str:
    return "".join(_lines(settings))


def _lines(settings: type[BaseSettings]) -> Iterator[str]:
    yield "| Name | Type, range | Default | Meaning |\n|---|---|---|---|\n"
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        kind = type_of(field, {tuple: "networks, comma-separated"})
        yield f"| `{prefix}{name.upper()}` | {kind} | {default_of(field, 'none')} | {meaning_of(field)} |\n"


def write() -> None:
    """Write every page; one whose executor is gone goes too."""
    SETTINGS_PAGE.write_text(settings_page(), encoding="utf-8")
    EXECUTORS_FOLDER.mkdir(exist_ok=True)
    pages = executor_pages()
    for name, text in pages.items():
        (EXECUTORS_FOLDER / name).write_text(text, encoding="utf-8")
    for page in EXECUTORS_FOLDER.glob("*.md"):
        if page.name not in pages:
            page.unlink()
    sys.stdout.write(f"{SETTINGS_PAGE.name} and {len(pages)} pages of {EXECUTORS_FOLDER.name}/ written\n")


if __name__ == "__main__":
    write()
