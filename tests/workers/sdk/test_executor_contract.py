"""The contract's tests catch what they are there to catch."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import pytest
from pydantic import field_validator

from workers.sdk import Executor, ExecutorResult, Parameters, action, success
from workers.sdk.executor_contract import ExecutorContract as Contract


class Wanted(Parameters):
    """Parameters in order."""

    name: str
    timeout: float = 5


class Fussy(Parameters):
    """Breaks rules: refuses numeric strings, quotes values."""

    name: str
    timeout: Any = 5

    @field_validator("timeout")
    @classmethod
    def _number(cls, value):
        if isinstance(value, str):
            raise ValueError(f"{value} is no number")  # noqa: TRY004 - how a validator refuses
        return value


class Good(Executor):
    kind = "test_executor_contract"

    @action("act", idempotent=False)
    async def act(self, ctx, params: Wanted) -> ExecutorResult:
        return success({"n": params.timeout})


class Bad(Executor):
    kind = "bad"

    @action("act", idempotent=lambda params: "yes" if params.timeout else None)
    async def act(self, ctx, params: Fussy) -> ExecutorResult:
        return success({})

    async def run(self, ctx, name):
        return success({})  # whatever is asked


class GoodContract(Contract):
    executor = Good
    samples: ClassVar = {"act": {"name": "x"}}


class BadContract(Contract):
    executor = Bad
    samples: ClassVar = {"act": {"name": "x"}, "other": {}}


TESTS = [name for name in dir(Contract) if name.startswith("test_")]


@pytest.mark.parametrize("name", TESTS)
def test_a_good_executor_passes(name, tmp_path):
    test = getattr(GoodContract(), name)
    test(tmp_path) if "tmp_path" in test.__code__.co_varnames else test()


@pytest.mark.parametrize(
    "name",
    [
        "test_the_kind_is_the_modules_name",
        "test_every_action_has_a_sample",
        "test_an_unknown_action_is_refused_with_the_names_of_the_known",
        "test_a_missing_parameter_is_named",
        "test_a_parameter_of_the_wrong_type_is_named_and_never_quoted",
        "test_a_time_limit_may_be_a_numeric_string",
    ],
)
def test_a_bad_executor_is_caught(name, tmp_path):
    assert Bad.__module__ in sys.modules
    contract = BadContract()
    contract.samples = {"act": {"name": "x"}} if "sample" not in name else BadContract.samples
    test = getattr(contract, name)
    with pytest.raises(Exception, match=r".+"):
        test(tmp_path) if "tmp_path" in test.__code__.co_varnames else test()
