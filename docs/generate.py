"""Writes the reference pages that are made from code, so that they cannot drift from it: `docs/settings.md`.

Run by `scripts/docs`; a test compares the pages with what this module would write.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from controlplane.settings import ControlPlaneSettings
from easyalert.settings import AgentSettings

SETTINGS_PAGE = Path(__file__).parent / "settings.md"

_TYPE_WORDS = {int: "integer", float: "number", bool: "boolean", str: "text", Path: "path", SecretStr: "secret text"}
_BOUNDS = {Ge: "≥ ", Gt: "> ", Le: "≤ ", Lt: "< "}

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
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{prefix}{name.upper()}` | {_type(field)} | {_default(field)} | {meaning} |\n"


def _type(field: FieldInfo) -> str:
    bounds = [
        word + str(next(iter(vars_of(rule).values())))
        for rule in field.metadata
        for kind, word in _BOUNDS.items()
        if isinstance(rule, kind)
    ]
    return ", ".join([_type_word(field.annotation), *bounds])


def vars_of(rule: Any) -> dict[str, Any]:
    """The bound of a rule, e.g. `{"ge": 1}`."""
    return {name: getattr(rule, name) for name in rule.__slots__}


def _type_word(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return _type_word(next(argument for argument in arguments if argument is not types.NoneType))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return "networks, comma-separated"
    return _TYPE_WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value in {"", (), Path()}:
        return "none"
    return f"`{value}`"


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(settings_page(), encoding="utf-8")
    sys.stdout.write(f"{SETTINGS_PAGE.name} written\n")
