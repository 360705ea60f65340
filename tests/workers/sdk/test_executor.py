from __future__ import annotations

import pytest
from pydantic import Field, field_validator

from easyalert.errors import InvalidParameter, UnknownAction
from workers.sdk import Executor, ExecutorResult, Parameters, action, success
from workers.sdk.executor import parse
from workers.sdk.harness import Harness


class Greeting(Parameters):
    """Parameters."""

    name: str
    times: int = Field(default=1, ge=1)
    last_name: str = Field(default="", alias="lastName")

    @field_validator("name")
    @classmethod
    def _kind(cls, value):
        if value == "nobody":
            raise ValueError("Must be somebody")
        return value


class Greeter(Executor):
    kind = "greeter"

    @action("hello", idempotent=lambda params: params.times == 1)
    async def hello(self, ctx, params: Greeting) -> ExecutorResult:
        return success({"text": f"hello {params.name} {params.last_name}" * params.times})

    @action("bye", idempotent=True)
    async def bye(self, ctx, params: Greeting) -> ExecutorResult:
        return success({"text": "bye"})


class Louder(Greeter):
    kind = "louder"

    @action("bye", idempotent=False)
    async def bye(self, ctx, params: Greeting) -> ExecutorResult:
        return success({"text": "BYE"})


def test_actions_are_declared_by_their_decorator_and_inherited():
    assert set(Greeter.actions) == set(Louder.actions) == {"hello", "bye"}
    assert Greeter.actions["hello"].parameters is Greeting
    assert Greeter.actions["bye"].idempotent is True
    assert Louder.actions["bye"].idempotent is False
    assert Executor.actions == {}


def test_an_action_gets_its_parameters_parsed(tmp_path):
    ran = Harness(Greeter(), tmp_path).run("hello", {"name": 5, "times": "2", "lastName": "L", "host": "x"})
    assert ran.recorded["output"] == {"text": "hello 5 L" * 2}


def test_an_unknown_action_names_the_known():
    with pytest.raises(UnknownAction, match=r"'greeter' has no action 'shout'; it has: bye, hello"):
        Greeter().spec("shout")


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({}, "parameter 'name' is required"),
        ({"name": None}, "parameter 'name' is required"),
        ({"name": "nobody"}, "parameter 'name' must be somebody"),
        ({"name": ["s3cret"]}, "parameter 'name' input should be a valid string"),
        ({"name": "x", "times": "many"}, "parameter 'times' input should be a valid integer"),
        ({"name": "x", "times": 0}, "parameter 'times' input should be greater than or equal to 1"),
        ({"name": "x", "lastName": {}}, "parameter 'lastName' input should be a valid string"),
    ],
)
def test_a_wrong_parameter_is_named_and_not_quoted(params, sentence):
    with pytest.raises(InvalidParameter) as caught:
        parse(Greeting, params)
    assert str(caught.value).startswith(sentence)
    assert "s3cret" not in str(caught.value)


def test_null_is_not_given():
    assert parse(Greeting, {"name": "x", "times": None}).times == 1


@pytest.mark.parametrize(("params", "answer"), [({"name": "x"}, True), ({"name": "x", "times": 2}, False), ({}, False)])
def test_whether_it_may_be_repeated_can_depend_on_the_parameters(params, answer):
    assert Greeter.actions["hello"].may_repeat(params) is answer
