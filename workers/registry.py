"""Which kinds of actions this agent has. Executors are found, not listed, and imported on first use.

A built-in kind is a module of `workers.executors`; its name is the kind and it holds one `Executor` with that `kind`.
A third party adds kinds through the entry-point group `easyalert.executors` (name = kind, value = `module:Class`);
a built-in kind cannot be replaced that way.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from easyalert.errors import AgentFault, UnknownAction
from workers import executors
from workers.sdk.executor import ActionSpec, Executor, OwnersActions

log = logging.getLogger(__name__)

ENTRY_POINTS: Final = "easyalert.executors"


class Registry:
    """Kinds and their executors; one instance per process, inherited by fork before anything is imported."""

    def __init__(
        self,
        package: str = executors.__name__,
        foreign: dict[str, EntryPoint] | None = None,
        *,
        owners_actions: Path | None = None,
    ) -> None:
        """`owners_actions`: the folder of executors whose actions are files (`OwnersActions`)."""
        path = importlib.import_module(package).__path__
        self._own = {module.name: f"{package}.{module.name}" for module in pkgutil.iter_modules(path)}
        self._foreign = _foreign_kinds() if foreign is None else foreign
        self._owners_actions = owners_actions
        self._made: dict[str, Executor] = {}

    def kinds(self) -> list[str]:
        """Names only; imports nothing."""
        return sorted({*self._own, *self._foreign})

    def executor(self, kind: str) -> Executor:
        """The executor of a kind, made on first use. Raises UnknownAction, or AgentFault when its code is broken."""
        made = self._made.get(kind)
        if made is None:
            found = self._class(kind)
            made = found(self._owners_actions) if issubclass(found, OwnersActions) else found()
            self._made[kind] = made
        return made

    def spec(self, action_type: str) -> ActionSpec:
        """The declaration of `<kind>.<action>`. Raises as `executor`, and UnknownAction."""
        kind, name = split_action(action_type)
        return self.executor(kind).spec(name)

    def repeatable(self) -> list[str]:
        """`<kind>.<action>` of what loaded executors declare as idempotent in any case; imports nothing."""
        return [
            f"{kind}.{name}"
            for kind, executor in self._made.items()
            for name, spec in executor.declared().items()
            if spec.idempotent is True
        ]

    async def close(self) -> None:
        """Close what was made; a failure of one is logged."""
        made, self._made = self._made, {}
        closings = (executor.close() for executor in made.values())
        outcomes = await asyncio.gather(*closings, return_exceptions=True)
        for kind, outcome in zip(made, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                log.warning("closing the %s executor failed (%s)", kind, type(outcome).__name__)

    def _class(self, kind: str) -> type[Executor]:
        if kind not in self._own and kind not in self._foreign:
            raise UnknownAction(f"this agent has no executor '{kind}'; it has: {', '.join(self.kinds())}")
        try:
            found = _built_in(self._own[kind], kind) if kind in self._own else self._foreign[kind].load()
            return _checked(found, kind)
        except Exception as error:
            # foreign code may raise anything while it is imported; the job gets a sentence, the log the rest
            log.warning("the %s executor cannot be loaded", kind, exc_info=error)
            raise AgentFault(
                f"the {kind} executor of this agent cannot be loaded ({type(error).__name__}); its log says why"
            ) from None


def split_action(action_type: str) -> tuple[str, str]:
    """`<category>.<action>`, split at the first dot; without one the whole text is both (contract 2.1)."""
    kind, dot, name = action_type.partition(".")
    return (kind, name) if dot else (kind, kind)


def _foreign_kinds() -> dict[str, EntryPoint]:
    try:
        return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    except Exception as error:  # noqa: BLE001 - broken metadata of a foreign distribution must not stop the pool
        log.warning("entry points of installed packages cannot be read (%s)", type(error).__name__)
        return {}


def _built_in(module_name: str, kind: str) -> type[Executor]:
    module = importlib.import_module(module_name)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Executor) and vars(value).get("kind") == kind:
            return value
    raise TypeError(f"{module_name} holds no Executor with kind '{kind}'")


def _checked(found: object, kind: str) -> type[Executor]:
    if not isinstance(found, type) or not issubclass(found, Executor):
        raise TypeError(f"what the entry point '{kind}' names is no Executor")
    if getattr(found, "kind", None) != kind:
        raise TypeError(f"the executor's kind is not '{kind}'")
    return found
