"""A connection's data: the vault's entry and the configuration in the job, put together (contract 3.0 and 7.3).

::

    class SshConnection(Connection):
        address: ClassVar = ("host",)

        host: Line
        username: Line = "root"
        password: SecretText | None = None

    connection = read_connection(ctx, SshConnection)

**Rules.** A field comes from the vault's entry if it is there and not blank, else from the top level of the job's
parameters, else from `params.connectionConfig`. So entries that hold everything keep working, and so do entries that
hold secrets only. A secret in the job counts only where the vault has none.

**A secret is bound to its address.** `address` names the fields that say where the secret goes, first found wins. If
the vault's entry names an address, a job that names another is refused. If it names none, the first address the entry
is used for is remembered by the agent (`Context.bind_credential`), and another is refused from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from easyalert.errors import CredentialError, EasyAlertError, PolicyRefused
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import check_host, parse_target
from workers.sdk.context import Context


@dataclass(frozen=True)
class Secret:
    """Marks a field that is never shown and never taken from the job when the vault has one."""


@dataclass(frozen=True)
class OwnersOnly:
    """Marks a field that counts in the vault's entry only: it weakens a protection, and that is the owner's to say."""


SecretText = Annotated[str, Secret()]
OwnersFlag = Annotated[bool, OwnersOnly()]

C = TypeVar("C", bound="Connection")


class Connection(BaseModel):
    """Base of a kind's connection model. Frozen; its repr shows no value."""

    model_config = ConfigDict(
        extra="ignore", populate_by_name=True, frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )

    address: ClassVar[tuple[str, ...]] = ("host",)
    """Wire names that say where a secret goes, best first: hosts or URLs. Empty: one fixed service."""
    needs_entry: ClassVar[bool] = True
    """False: works without an entry in the vault, when the job's configuration suffices."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    __str__ = __repr__


def read_connection(ctx: Context, model: type[C]) -> C:
    """The connection of `ctx`'s job as `model`; secrets in it are redacted from then on.

    Raises CredentialError for a missing entry and for a missing or wrong field (naming it, never its value), and
    PolicyRefused when the job names another address than the credential is bound to.
    """
    entry = (ctx.require_credential() if model.needs_entry else ctx.credential()) or {}
    names = dict(_wire_names(model))
    own = {name: entry[name] for name in names if _given(entry.get(name))}
    asked = _of_job(ctx, [name for name, field in names.items() if not _has(field, OwnersOnly)])
    ctx.hide([value for name, value in asked.items() if _is_secret(names[name])])
    if any(_is_secret(names[name]) for name in own):
        _keep_to_address(ctx, model, own, asked)
    try:
        return model.model_validate(asked | own)
    except ValidationError as error:
        raise _explained(ctx, error) from None


def _of_job(ctx: Context, names: list[str]) -> dict[str, Any]:
    nested = ctx.params.get("connectionConfig")
    if nested is not None and not isinstance(nested, dict):
        raise CredentialError("parameter 'connectionConfig' must be an object")
    sources = (nested or {}, ctx.params)
    return {name: source[name] for source in sources for name in names if _given(source.get(name))}


def _keep_to_address(ctx: Context, model: type[Connection], own: dict[str, Any], asked: dict[str, Any]) -> None:
    if not model.address:
        return
    bound = _first(own, model.address)
    wanted = _first(asked, model.address)
    if bound is None and wanted is None:
        return  # the model says what is missing
    if bound is None:
        ctx.bind_credential(_normal(str(wanted)))
    elif wanted is not None and _normal(wanted) != _normal(bound):
        raise PolicyRefused(
            f"the credential of connection '{ctx.connection_id}' belongs to {_normal(bound)} and is not sent to "
            f"{_normal(wanted)}; correct the connection, or deliver its credential again for the new address"
        )


def _first(values: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((str(values[name]) for name in names if name in values), None)


def _normal(address: str) -> str:
    """A host or URL in the one form in which it is compared; what is neither stays as it is and equals only itself."""
    try:
        if "://" in address:
            return parse_target(address, NetworkPolicy(allow_private=True)).origin
        return check_host(address.strip())
    except EasyAlertError:
        return address


def _given(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def _wire_names(model: type[Connection]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _is_secret(field: FieldInfo) -> bool:
    return _has(field, Secret)


def _has(field: FieldInfo, mark: type) -> bool:
    return any(isinstance(item, mark) for item in field.metadata) or _marked(field.annotation, mark)


def _marked(annotation: Any, mark: type) -> bool:
    """`SecretText | None` keeps its mark inside the union."""
    inner = getattr(annotation, "__metadata__", ())
    return any(isinstance(item, mark) for item in inner) or any(
        _marked(argument, mark) for argument in getattr(annotation, "__args__", ())
    )


def secret_names(model: type[Connection]) -> list[str]:
    """Wire names of the secret fields."""
    return [name for name, field in _wire_names(model) if _is_secret(field)]


def owners_only(model: type[Connection]) -> bool:
    """Whether nothing of it is ever taken from a job."""
    return all(_has(field, OwnersOnly) for _, field in _wire_names(model))


def _explained(ctx: Context, error: ValidationError) -> CredentialError:
    item = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in item["loc"]) or "entry"
    if item["type"] == "missing":
        return CredentialError(
            f"connection '{ctx.connection_id}' has no '{name}'; add it to the connection or to its vault entry"
        )
    problem = item["msg"].removeprefix("Value error, ")
    return CredentialError(f"'{name}' of connection '{ctx.connection_id}' {problem[:1].lower()}{problem[1:]}")
