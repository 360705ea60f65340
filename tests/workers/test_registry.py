from __future__ import annotations

import asyncio
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from easyalert.errors import AgentFault, UnknownAction
from workers.executors.script import Script
from workers.registry import ENTRY_POINTS, Registry, split_action
from workers.sdk import Executor


def foreign(kind: str, value: str) -> dict[str, EntryPoint]:
    return {kind: EntryPoint(kind, value, ENTRY_POINTS)}


@pytest.fixture
def installed(monkeypatch):
    """A module of a third party."""
    module = ModuleType("third_party")

    class Pager(Executor):
        kind = "pager"
        closed = False

        async def close(self):
            Pager.closed = True

    class Grumpy(Executor):
        kind = "grumpy"

        async def close(self):
            raise OSError("cannot")

    module.Pager, module.Grumpy = Pager, Grumpy
    monkeypatch.setitem(sys.modules, "third_party", module)
    return module


def test_kinds_are_named_without_importing_anything(monkeypatch):
    monkeypatch.delitem(sys.modules, "workers.executors.script", raising=False)
    registry = Registry(foreign=foreign("pager", "nowhere:Pager"))
    assert {"script", "pager"} <= set(registry.kinds())
    assert "workers.executors.script" not in sys.modules


def test_an_executor_is_made_once():
    registry = Registry()
    assert isinstance(registry.executor("script"), Script)
    assert registry.executor("script") is registry.executor("script")


def test_a_third_partys_kind_is_found(installed):
    assert isinstance(Registry(foreign=foreign("pager", "third_party:Pager")).executor("pager"), installed.Pager)


def test_a_built_in_kind_cannot_be_replaced():
    assert isinstance(Registry(foreign=foreign("script", "third_party:Pager")).executor("script"), Script)


@pytest.mark.parametrize(
    "value", ["nowhere:Pager", "third_party:Missing", "os:path", "third_party:Grumpy", "third_party", "!"]
)
def test_a_broken_third_party_hurts_its_own_jobs_only(installed, value):
    registry = Registry(foreign=foreign("pager", value))
    with pytest.raises(AgentFault, match="pager executor of this agent cannot be loaded"):
        registry.executor("pager")
    assert isinstance(registry.executor("script"), Script)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(UnknownAction, match="script"):
        Registry(foreign={}).executor("nonsense")


def test_an_unknown_action_is_refused():
    with pytest.raises(UnknownAction, match="bash"):
        Registry().spec("script.nonsense")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ssh.executeCommand", ("ssh", "executeCommand")),
        ("a.b.c", ("a", "b.c")),
        ("plain", ("plain", "plain")),
        ("", ("", "")),
        (".x", ("", "x")),
    ],
)
def test_actions_are_split_at_the_first_dot(text, parts):
    assert split_action(text) == parts


def test_closing_closes_all_even_when_one_fails(installed, caplog):
    registry = Registry(foreign={**foreign("grumpy", "third_party:Grumpy"), **foreign("pager", "third_party:Pager")})
    registry.executor("grumpy")
    registry.executor("pager")
    asyncio.run(registry.close())
    assert installed.Pager.closed
    assert "grumpy" in caplog.text
