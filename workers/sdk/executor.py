"""The base class of executors, and how actions are declared.

::

    class Echo(Executor):
        kind = "echo"

        @action("say", idempotent=True)
        async def say(self, ctx: Context, params: SayParameters) -> ExecutorResult: ...

The parameters' class is taken from the annotation; documentation, forms and checks are made from it.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from easyalert.errors import InvalidParameter, UnknownAction
from workers.sdk.connection import Connection
from workers.sdk.context import Context
from workers.sdk.result import ExecutorResult


class Parameters(BaseModel):
    """Base of parameter models: camelCase aliases are written out by the subclass, numeric strings become numbers.

    Unknown names are ignored, because the control plane merges the connection's configuration into a job's
    parameters (contract 3.0).
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True, frozen=True, coerce_numbers_to_str=True)


_DECLARED = "__easyalert_action__"

P = TypeVar("P", bound=Parameters)
Idempotence = bool | Callable[[Any], bool]
Handler = Callable[[Any, Context, Any], Awaitable[ExecutorResult]]


@dataclass(frozen=True)
class ActionSpec:
    """A declared action."""

    name: str
    parameters: type[Parameters]
    idempotent: Idempotence
    handler: Handler

    def may_repeat(self, params: dict[str, Any]) -> bool:
        """Whether running it twice is harmless; unusable parameters count as no."""
        if isinstance(self.idempotent, bool):
            return self.idempotent
        try:
            return bool(self.idempotent(parse(self.parameters, params)))
        except InvalidParameter:
            return False


def action(name: str, *, idempotent: Idempotence) -> Callable[[Handler], Handler]:
    """Declare a method as the action `name` (the part after the first dot of `actionType`).

    `idempotent`: may it run twice without harm? A callable gets the parsed parameters.
    """

    def mark(handler: Handler) -> Handler:
        setattr(handler, _DECLARED, (name, idempotent))  # __init_subclass__ reads it
        return handler

    return mark


class Executor:
    """Runs the actions of one kind. One instance per worker process, made on first use, closed when it ends."""

    kind: ClassVar[str]
    connection: ClassVar[type[Connection] | None] = None
    """What the kind reads of its connection; the documentation and the vault's commands are made from it."""
    actions: ClassVar[dict[str, ActionSpec]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = dict(cls.actions)
        for handler in vars(cls).values():
            declared = getattr(handler, _DECLARED, None)
            if declared is not None:
                found[declared[0]] = ActionSpec(declared[0], _parameters_of(handler), declared[1], handler)
        cls.actions = found

    def spec(self, name: str) -> ActionSpec:
        """Raises UnknownAction naming the ones there are."""
        try:
            return self.declared()[name]
        except KeyError:
            known = ", ".join(sorted(self.declared()))
            raise UnknownAction(f"'{self.kind}' has no action '{name}'; it has: {known}") from None

    def declared(self) -> dict[str, ActionSpec]:
        """All actions of this instance, by name."""
        return self.actions

    async def run(self, ctx: Context, name: str) -> ExecutorResult:
        """Parse the parameters and run the action. Raises EasyAlertError; the worker turns it into a result."""
        spec = self.spec(name)
        return await spec.handler(self, ctx, parse(spec.parameters, ctx.params))

    async def close(self) -> None:
        """When the worker process ends in good order: release clients. Not called after a kill."""


class OwnersActions:
    """Of executors whose actions are no methods but files of the agent's owner's: `spec` and `declared` read them."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: where they are (CUSTOM_ACTIONS_DIR); None: there are none."""
        self.folder = folder


def _parameters_of(handler: Handler) -> type[Parameters]:
    """The annotation of a handler's third parameter. Raises TypeError when the handler is not an action."""
    names = list(inspect.signature(handler).parameters)
    model = typing.get_type_hints(handler).get(names[2]) if len(names) == 3 else None
    if not (inspect.iscoroutinefunction(handler) and isinstance(model, type) and issubclass(model, Parameters)):
        name = getattr(handler, "__qualname__", repr(handler))
        raise TypeError(f"{name} is no action: it must be 'async def …(self, ctx, params: a subclass of Parameters)'")
    return model


def parse(model: type[P], params: dict[str, Any]) -> P:
    """Parameters as the model. Raises InvalidParameter naming the first wrong one, never its value."""
    # null means "not given": templates produce it for empty variables
    given = {name: value for name, value in params.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        item = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in item["loc"]) or "params"
        problem = "is required" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
        raise InvalidParameter(name, problem[:1].lower() + problem[1:]) from None
