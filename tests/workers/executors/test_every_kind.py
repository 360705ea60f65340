"""Bad values for every parameter of every kind there is: each is refused by a sentence that names it.

The kinds are those of the registry, so that a new one is looked at without being named here. Its valid parameters are
the samples of its own test.
"""

import functools
import importlib
import typing

import pytest
from pydantic import BaseModel

from easyalert.errors import InvalidParameter
from workers.registry import Registry
from workers.sdk.executor import Parameters, parse
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.rich import RichParameters

HUGE = "n" * 25_000_000
MANY_LINES = frozenset(
    {
        "assertions.bodyContains", "assertions.bodyNotContains", "attachments.content", "attachments.contentBase64",
        "body", "command", "comment", "description", "htmlBody", "manifest", "message", "query", "script",
    }
)  # fmt: skip
"""Texts in which a line break means one."""
SHOWN = frozenset(field.alias or name for name, field in RichParameters.model_fields.items())
"""What a rich message is made of: escaped wherever it is shown, and no message is refused for its incident's title."""
ELSEWHERE = {
    ("notification", "message", "huge"): "the first 65,536 characters are sent, and `truncated` says so (contract 2.7)",
    ("script", "script", "huge"): "refused with exit code 1 (contract 2.7): test_script.py",
    ("os", "delaySeconds", "any"): "what is no number counts as 0 (contract 3.5)",
}


def contract_of(kind):
    """The class in the kind's own test that inherits the contract."""
    module = importlib.import_module(f"tests.workers.executors.test_{kind}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, ExecutorContract) and value is not ExecutorContract:
            return value()
    raise AssertionError(f"{module.__name__} has no class that inherits ExecutorContract")


@functools.cache
def parameters():
    """Kind, action, its parameters' class, its sample, wire name, and what the field is annotated with."""
    found = []
    for kind in Registry(foreign={}).kinds():
        contract = contract_of(kind)
        for action, sample in contract.samples.items():
            model = contract.executor.actions[action].parameters if action in contract.executor.actions else None
            if model is not None:  # the actions of `custom` are the owner's, and so are their parameters
                found += [(kind, action, model, sample, wire, kinds) for wire, kinds in fields(model)]
    return found


def fields(model, before=""):
    """Wire names with the types a value may have; those of an object, or of objects in a list, as `outer.inner`."""
    for name, field in model.model_fields.items():
        wire = before + (field.alias or name)
        kinds = frozenset(types_in(field.annotation))
        yield wire, kinds
        for inner in kinds:
            if isinstance(inner, type) and issubclass(inner, BaseModel) and not before:
                yield from fields(inner, f"{wire}.")


def types_in(annotation):
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        arguments = arguments[:1]
    if typing.get_origin(annotation) in (dict, typing.Literal) or not arguments:
        yield annotation
        return
    for argument in arguments:
        yield from types_in(argument)


def with_value(model, sample, wire, value):
    outer, _, inner = wire.partition(".")
    if not inner:
        return {**sample, wire: value}
    field = next(field for name, field in model.model_fields.items() if (field.alias or name) == outer)
    listed = typing.get_origin(field.annotation) is list
    given = sample.get(outer)
    first = (given[0] if given else {"name": "n"}) if listed else given or {}
    made = {**first, inner: value}
    return {**sample, outer: [made] if listed else made}


def refusal(model, params):
    """The parameter that was refused; None when nothing was."""
    try:
        parse(model, params)
    except InvalidParameter as error:
        return error.parameter if len(str(error)) < 400 else f"in a sentence of {len(str(error))} characters"
    return None


def not_refused(wanted, value, what, *, but=frozenset()):
    """Parameters whose types `wanted` likes, and that take `value`, or are refused without being named."""
    taken = []
    for kind, action, model, sample, wire, kinds in parameters():
        if not wanted(kinds) or wire in but or {(kind, wire, what), (kind, wire, "any")} & ELSEWHERE.keys():
            continue
        named = refusal(model, with_value(model, sample, wire, value))
        if named is None or named.partition(".")[0] != wire.partition(".")[0]:
            taken.append(f"{kind}.{action}: {wire} ({what}; named: {named})")
    return taken


def is_text(kinds):
    return str in kinds


def is_number(kinds):
    return bool({int, float} & kinds) and str not in kinds


def test_there_is_something_to_look_at():
    looked_at = {kind for kind, *_ in parameters()}
    assert {"database", "email", "http", "kubernetes", "script", "slack"} <= looked_at
    assert len(parameters()) > 100


@pytest.mark.parametrize("kind", Registry(foreign={}).kinds())
def test_every_kind_keeps_the_contract(kind):
    contract = contract_of(kind)
    assert contract.executor.kind == kind
    assert all(issubclass(spec.parameters, Parameters) for spec in contract.executor.actions.values())


def test_no_text_is_without_bound():
    assert not_refused(is_text, HUGE, "huge") == []


def test_no_text_holds_a_nul():
    assert not_refused(is_text, "a\0b", "nul", but=SHOWN) == []


def test_no_text_holds_what_is_no_character():
    assert not_refused(is_text, "a\ud800b", "surrogate", but=SHOWN) == []


@pytest.mark.parametrize("value", ["x\n", "\nx", "x\r\nX-Other: 1", "x\x1b[2J"])
def test_what_is_one_line_has_no_line_break(value):
    assert not_refused(is_text, value, "line break", but=MANY_LINES | SHOWN) == []


@pytest.mark.parametrize("value", ["7\n", "seven", "7; reboot", True, [7], {"a": 7}])
def test_what_is_a_number_is_nothing_else(value):
    assert not_refused(is_number, value, "number") == []


@pytest.mark.parametrize("value", ["perhaps", "true\n", 7, [True], {"a": True}])
def test_what_is_true_or_false_is_nothing_else(value):
    assert not_refused(lambda kinds: bool in kinds and str not in kinds, value, "boolean") == []


def test_the_exceptions_are_of_parameters_that_there_are():
    there = {(kind, wire) for kind, _, _, _, wire, _ in parameters()}
    assert {(kind, wire) for kind, wire, _ in ELSEWHERE} <= there
