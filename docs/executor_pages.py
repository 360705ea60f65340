"""Makes `docs/executors/KIND.md` from the executors' models, so that no page can drift from the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from docs.words import default_of, meaning_of, type_of
from workers.registry import Registry
from workers.sdk.connection import Connection, owners_only, secret_names
from workers.sdk.executor import ActionSpec, Executor

EXECUTORS_FOLDER = Path(__file__).parent / "executors"

_MARK = "<!-- Made by scripts/docs from the executor's models. Change those, not this page. -->"


def executor_pages() -> dict[str, str]:
    """File name → text, one page for each built-in kind, and the index."""
    registry = Registry(foreign={})
    executors = {kind: registry.executor(kind) for kind in registry.kinds()}
    pages = {f"{kind}.md": "\n".join(_page(executor)) + "\n" for kind, executor in executors.items()}
    pages["README.md"] = "\n".join(_index(executors)) + "\n"
    return pages


def _index(executors: dict[str, Executor]) -> Iterator[str]:
    yield f"# Executors\n\n{_MARK}\n"
    yield "`may repeat`: running it twice does no harm, so after a crash the agent repeats it by itself.\n"
    yield "| Action | What it does | May repeat |\n|---|---|---|"
    for kind, executor in executors.items():
        for name, spec in sorted(executor.declared().items()):
            yield f"| [`{kind}.{name}`]({kind}.md) | {_sentence(spec)} | {_repeatable(spec)} |"


def _page(executor: Executor) -> Iterator[str]:
    module = inspect.getmodule(type(executor))
    yield f"# {executor.kind}\n\n{_MARK}\n"
    yield inspect.cleandoc((module and module.__doc__) or "")
    if executor.connection is not None:
        yield from _connection(executor.connection)
    for name, spec in sorted(executor.declared().items()):
        yield f"\n## `{executor.kind}.{name}`\n"
        yield inspect.cleandoc(spec.handler.__doc__ or "")
        yield f"\nMay repeat: {_repeatable(spec)}.\n"
        yield from _table(spec.parameters)


def _connection(model: type[Connection]) -> Iterator[str]:
    yield "\n## Connection\n"
    if owners_only(model):
        yield "From the vault's entry only."
    else:
        yield "From the vault's entry; what it does not say, from the job's parameters or their `connectionConfig`."
    if model.address:
        names = ", ".join(f"`{name}`" for name in model.address)
        yield f"A secret is bound to its address ({names}) and is never sent to another."
    yield ""
    yield from _table(model, secrets=frozenset(secret_names(model)))


def _table(model: type[BaseModel], secrets: frozenset[str] = frozenset()) -> Iterator[str]:
    if not model.model_fields:
        yield "No parameters."
        return
    yield "| Name | Type | Default | Meaning |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        wire = field.alias or name
        secret = ", secret" if wire in secrets else ""
        kind, default = type_of(field, {tuple: "list", set: "list", frozenset: "list"}), default_of(field, "none")
        yield f"| `{wire}` | {kind}{secret} | {default} | {meaning_of(field)} |"


def _sentence(spec: ActionSpec) -> str:
    return inspect.cleandoc(spec.handler.__doc__ or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _repeatable(spec: ActionSpec) -> str:
    if isinstance(spec.idempotent, bool):
        return "yes" if spec.idempotent else "no"
    return "depends on its parameters"
