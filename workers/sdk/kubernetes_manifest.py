"""Manifests: read as Kubernetes reads them, and applied on the server's side.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import quote

import yaml

from easyalert.errors import InvalidParameter
from workers.sdk.kubernetes_answers import ApiError
from workers.sdk.kubernetes_client import Cluster

MANIFEST_MAX_BYTES: Final = 1_048_576
OBJECTS_MAX: Final = 100
_VALUES_MAX: Final = 200_000
_DEPTH_MAX: Final = 100
_APPLY: Final = "application/apply-patch+yaml"
_FIRST: Final = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret", "ConfigMap")
"""Kinds that others of the same manifest may need; what is not listed keeps its place after them."""


@dataclass(frozen=True)
class Item:
    """One object of a manifest."""

    group_version: str
    kind: str
    name: str
    namespace: str | None
    body: dict[str, Any]

    @property
    def title(self) -> str:
        """As kubectl names it: `deployment.apps/web`."""
        group = self.group_version.rpartition("/")[0]
        return f"{self.kind.lower()}{f'.{group}' if group else ''}/{self.name}"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # whichever there is
    """The safe loader with the scalars of YAML 1.2: `yes`, `12:30` and `2024-01-01` are texts, as for kubectl."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _begins in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0x[0-9a-fA-F]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?i:inf)|\.(?i:nan)", "-+0123456789."),
    ("merge", r"<<", "<"),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_begins))


def read_manifest(text: str) -> list[Item]:
    """Its objects, `List`s unpacked, in an order in which they can be applied.

    Raises InvalidParameter naming document and problem, never a value.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidParameter("manifest", "holds characters that are no text (lone surrogates)") from None
    if size > MANIFEST_MAX_BYTES:
        raise InvalidParameter("manifest", f"is larger than {MANIFEST_MAX_BYTES} bytes")
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidParameter("manifest", f"is no YAML{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, OverflowError):
        raise InvalidParameter("manifest", "is no YAML that can be read") from None
    _check_values(documents)
    items: list[Item] = []
    for number, document in enumerate(documents, start=1):
        if document is not None:
            items += _items(document, f"document {number}")
    if not items:
        raise InvalidParameter("manifest", "holds no object")
    if len(items) > OBJECTS_MAX:
        raise InvalidParameter("manifest", f"holds more than {OBJECTS_MAX} objects")
    rank = {kind: place for place, kind in enumerate(_FIRST)}
    return sorted(items, key=lambda item: rank.get(item.kind, len(_FIRST)))


def _items(document: Any, where: str) -> list[Item]:
    if not isinstance(document, dict):
        raise InvalidParameter("manifest", f"{where} is no object")
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(version, str) or not re.fullmatch(r"(?:[a-z0-9.-]{1,253}/)?v[a-z0-9]{1,62}", version):
        raise InvalidParameter("manifest", f"{where} has no usable 'apiVersion'")
    if not isinstance(kind, str) or not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,62}", kind):
        raise InvalidParameter("manifest", f"{where} has no usable 'kind'")
    if kind == "List" and isinstance(document.get("items"), list):
        return [
            each
            for number, inner in enumerate(document["items"], 1)
            for each in _items(inner, f"{where}, item {number}")
        ]
    meta = document.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    if (
        not isinstance(meta, dict)
        or not isinstance(name, str)
        or not re.fullmatch(r"[A-Za-z0-9:._-]{1,253}", name)
        or name in {".", ".."}
    ):
        raise InvalidParameter(
            "manifest", f"{where} ({kind}) has no usable 'metadata.name'; a generateName cannot be applied"
        )
    space = meta.get("namespace")
    if space is not None and (
        not isinstance(space, str) or not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", space)
    ):
        raise InvalidParameter("manifest", f"{where} ({kind}) has no usable 'metadata.namespace'")
    return [Item(version, kind, name, space, document)]


def _check_values(documents: list[Any]) -> None:
    """Aliases make a tree of any size, or one without end, of a small text; and not all of YAML is JSON."""
    todo: list[tuple[Any, int]] = [(document, 0) for document in documents]
    count = 0
    while todo:
        value, depth = todo.pop()
        count += 1
        if count > _VALUES_MAX or depth > _DEPTH_MAX:
            raise InvalidParameter(
                "manifest", f"holds more than {_VALUES_MAX} values, or more than {_DEPTH_MAX} levels"
            )
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise InvalidParameter("manifest", "has a key that is no text; quote it")
            todo.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            todo.extend((inner, depth + 1) for inner in value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise InvalidParameter("manifest", "holds a number that JSON has not (.nan, .inf); quote it")
        elif not (value is None or isinstance(value, str | int | float)):
            raise InvalidParameter("manifest", "holds a value with a tag that JSON has not")


# ---- applying -------------------------------------------------------------------------------------------------------


@dataclass
class Applied:
    """What was done with one object."""

    title: str
    namespace: str | None
    result: str
    """`created`, `configured`, `unchanged` or `failed`."""
    error: str | None = None

    def report(self) -> dict[str, Any]:
        """For the output."""
        return {"object": self.title, "namespace": self.namespace, "result": self.result, "error": self.error}


@dataclass
class Applier:
    """Applies items one after another; knows the resources that it has asked for."""

    cluster: Cluster
    namespace: str
    manager: str
    dry_run: bool
    force: bool
    _resources: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)

    def apply(self, item: Item, say: Callable[[str], None]) -> Applied:
        """One object. An object the server refuses is `failed`, with what it said. Raises TargetError and Ended."""
        applied = Applied(item.title, item.namespace, "failed")
        try:
            self._apply(item, applied)
        except ApiError as error:
            applied.error = error.message if error.reason != "Unauthorized" else error.sentence
            say(f"{item.title}: {error}")
        else:
            say(f"{item.title} {applied.result}{' (server dry run)' if self.dry_run else ' (server-side applied)'}")
        return applied

    def _apply(self, item: Item, applied: Applied) -> None:
        path, applied.namespace = self._path(item)
        before = None
        with contextlib.suppress(_Absent):
            before = _version(self._there(path))
        query = [
            ("fieldManager", self.manager),
            ("fieldValidation", "Strict"),
            ("force", "true" if self.force else "false"),
        ]
        if self.dry_run:
            query.append(("dryRun", "All"))
        after = self.cluster.call("PATCH", path, *query, body=item.body, content_type=_APPLY, repeat=True)
        changed = "configured" if self.dry_run or before != _version(after) else "unchanged"
        applied.result = "created" if before is None else changed

    def _there(self, path: str) -> Any:
        try:
            return self.cluster.get(path)
        except ApiError as error:
            if error.status == 404:
                raise _Absent from None
            raise

    def _path(self, item: Item) -> tuple[str, str | None]:
        """Path of the object and its namespace, None for what belongs to the whole cluster."""
        root = f"/apis/{item.group_version}" if "/" in item.group_version else f"/api/{item.group_version}"
        plural, namespaced = self._resource(root, item)
        if not namespaced:
            return f"{root}/{plural}/{quote(item.name, safe=':')}", None
        space = item.namespace or self.namespace
        return f"{root}/namespaces/{quote(space, safe='')}/{plural}/{quote(item.name, safe=':')}", space

    def _resource(self, root: str, item: Item) -> tuple[str, bool]:
        found = self._resources.get(root, {}).get(item.kind)
        if found is None:  # asked again: a definition applied a moment ago has made it
            try:
                told = self.cluster.get(root)
            except ApiError as error:
                if error.status != 404:
                    raise
                told = {}
            self._resources[root] = {
                each["kind"]: (each["name"], bool(each.get("namespaced")))
                for each in told.get("resources") or ()
                if "/" not in each["name"]
            }
            found = self._resources[root].get(item.kind)
        if found is None:
            raise ApiError(404, "NotFound", f'no matches for kind "{item.kind}" in version "{item.group_version}"')
        return found


class _Absent(Exception):  # noqa: N818 - no failure
    """There is no such object yet."""


def _version(item: Any) -> Any:
    return (item.get("metadata") or {}).get("resourceVersion") if isinstance(item, dict) else None
