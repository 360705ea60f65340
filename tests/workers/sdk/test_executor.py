import asyncio
from pathlib import Path

import pytest
from pydantic import Field, field_validator

from easyalert.errors import InvalidParameter, UnknownAction
from workers.sdk import Context, Executor, ExecutorResult, Parameters, action, success
from workers.sdk.executor import parse


class SayParameters(Parameters):
    text: str
    times: int = Field(default=1, ge=1, le=3)
    line_end: str = Field(default="\n", alias="lineEnd")

    @field_validator("text")
    @classmethod
    def _short(cls, value):
        if len(value) > 10:
            raise ValueError("Must have at most 10 characters")
        return value


class WipeParameters(Parameters):
    dry_run: bool = Field(default=False, alias="dryRun")


class Echo(Executor):
    kind = "echo"

    @action("say", idempotent=True)
    async def say(self, ctx: Context, params: SayParameters) -> ExecutorResult:
        return success(params.text * params.times)

    @action("wipe", idempotent=lambda params: params.dry_run)
    async def wipe(self, ctx: Context, params: WipeParameters) -> ExecutorResult:
        return success()


class LoudEcho(Echo):
    kind = "loud"

    @action("shout", idempotent=False)
    async def shout(self, ctx: Context, params: SayParameters) -> ExecutorResult:
        return success(params.text.upper())


def context(tmp_path, **params):
    return Context("job_1", "echo.say", None, params, 60, Path(tmp_path), "mark")


def test_actions_are_declared_by_their_methods():
    assert set(Echo.actions) == {"say", "wipe"}
    assert Echo.actions["say"].parameters is SayParameters
    assert set(LoudEcho.actions) == {"say", "wipe", "shout"}
    assert "shout" not in Echo.actions
    assert Executor.actions == {}


def test_an_action_runs_with_parsed_parameters(tmp_path):
    result = asyncio.run(Echo().run(context(tmp_path, text="ab", times="2"), "say"))
    assert result == ExecutorResult("success", "abab")


def test_an_unknown_action_names_the_known_ones():
    with pytest.raises(UnknownAction, match="'echo' has no action 'sing'; it has: say, wipe"):
        Echo().spec("sing")


@pytest.mark.parametrize(
    ("name", "params", "may"),
    [
        ("say", {}, True),
        ("wipe", {"dryRun": True}, True),
        ("wipe", {"dryRun": "true"}, True),
        ("wipe", {}, False),
        ("wipe", {"dryRun": "perhaps"}, False),
    ],
)
def test_whether_an_action_may_be_repeated(name, params, may):
    assert Echo().spec(name).may_repeat(params) is may


@pytest.mark.parametrize(
    ("params", "parameter", "sentence"),
    [
        ({}, "text", "parameter 'text' is required"),
        ({"text": None}, "text", "parameter 'text' is required"),
        ({"text": "a", "times": 9}, "times", "parameter 'times' input should be less than or equal to 3"),
        ({"text": "a", "times": "secret-value"}, "times", "parameter 'times' input should be a valid integer"),
        ({"text": ["secret-value"]}, "text", "parameter 'text' input should be a valid string"),
        ({"text": "secret-value"}, "text", "parameter 'text' must have at most 10 characters"),
        ({"text": "a", "lineEnd": {"secret-value": 1}}, "lineEnd", "parameter 'lineEnd' input should be"),
    ],
)
def test_a_wrong_parameter_is_named_and_its_value_never_shown(params, parameter, sentence):
    with pytest.raises(InvalidParameter) as caught:
        parse(SayParameters, params)
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(sentence)
    assert "secret-value" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_null_means_not_given_and_unknown_names_are_ignored():
    """The control plane merges the connection's configuration into the parameters (contract 3.0)."""
    assert parse(SayParameters, {"text": "a", "times": None, "host": "10.0.0.1"}).times == 1


def test_numbers_are_taken_as_text_where_text_is_asked_for():
    assert parse(SayParameters, {"text": 5}).text == "5"


def declare(handler):
    return type("Wrong", (Executor,), {"kind": "wrong", "do": action("do", idempotent=False)(handler)})


async def too_few(self, ctx: Context):
    return success()


async def no_annotation(self, ctx, params):
    return success()


async def plain_dict(self, ctx: Context, params: dict):
    return success()


def not_async(self, ctx: Context, params: SayParameters):
    return success()


@pytest.mark.parametrize("handler", [too_few, no_annotation, plain_dict, not_async])
def test_a_wrong_declaration_is_refused_where_it_is_written(handler):
    with pytest.raises(TypeError, match=f"{handler.__name__} is no action"):
        declare(handler)


def test_closing_is_optional():
    asyncio.run(Echo().close())
