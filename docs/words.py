"""How a model's field is written in a reference page: its type, range and default."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_WORDS: dict[Any, str] = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "text",
    Path: "path",
    SecretStr: "secret text",
    Any: "any",
    list: "list",
    dict: "object",
}
_BOUNDS = {Ge: "≥ ", Gt: "> ", Le: "≤ ", Lt: "< "}


def type_of(field: FieldInfo, special: dict[Any, str] | None = None) -> str:
    """`integer, ≥ 1`; `special` adds words for types of its own."""
    return ", ".join([_type_word(field.annotation, _WORDS | (special or {})), *_bounds(field.metadata)])


def default_of(field: FieldInfo, nothing: str) -> str:
    """`required`, the default as code, or `nothing` for an empty one."""
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or value is None or value in ("", (), [], {}, Path()):
        return nothing
    if isinstance(value, enum.Enum):
        value = value.value
    return f"`{json.dumps(value) if isinstance(value, bool | dict | list) else value}`"


def meaning_of(field: FieldInfo) -> str:
    """The description as the cell of a table."""
    return " ".join((field.description or "").split()).replace("|", "\\|")


def _bounds(metadata: list[Any]) -> Iterator[str]:
    lengths = [rule.max_length for rule in metadata if isinstance(rule, MaxLen)]
    for rule in metadata:
        if type(rule) in _BOUNDS:
            yield _BOUNDS[type(rule)] + str(getattr(rule, rule.__slots__[0]))
    if lengths:
        yield f"at most {min(lengths)} long"  # a field may narrow the length that its type has


def _type_word(annotation: Any, words: dict[Any, str]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_word(arguments[0], words)
    if origin in {typing.Union, types.UnionType}:
        kinds = (_type_word(argument, words) for argument in arguments if argument is not types.NoneType)
        return " or ".join(dict.fromkeys(kinds))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    return words.get(origin) or words.get(annotation) or _class_word(annotation)


def _class_word(annotation: Any) -> str:
    if not isinstance(annotation, type):
        return str(annotation)
    if issubclass(annotation, enum.Enum):
        return " or ".join(f"`{item.value}`" for item in annotation)
    if issubclass(annotation, BaseModel):
        names = (field.alias or name for name, field in annotation.model_fields.items())
        return "object of " + ", ".join(f"`{name}`" for name in names)
    return annotation.__name__
