"""The tests every executor inherits, of this repository and of third parties (run by pytest, needs nothing of it).

::

    class TestGreeter(ExecutorContract):
        executor = Greeter
        samples: ClassVar = {"hello": {"name": "Ada"}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from easyalert.errors import Fault, InvalidParameter
from easyalert.protocol.limits import ERROR_MAX_CHARS
from workers.sdk.executor import ActionSpec, Executor, parse
from workers.sdk.harness import Harness, Ran

_WRONG: tuple[Any, ...] = (
    {"not": ["expected"]}, ["not expected"], "not expected", -1.5, True, "not expected\n", "", " ", 10**400,
    "not expected'; DROP TABLE x --", "$(not expected)`not expected`", "-not=expected", "not expected\0", "\ud800",
    "not expected\r\nX: y", "../../not/expected", [None], {"": None}, "n" * 2_000_000,
)  # fmt: skip
"""Wrong for most parameters: types, sizes, shapes of injections. One that takes a value is not tested by it."""


class ExecutorContract:
    """Subclass it as `Test…`. `samples` holds parameters for every action with which it could really run."""

    executor: ClassVar[type[Executor]]
    samples: ClassVar[dict[str, dict[str, Any]]]
    run_samples: ClassVar[bool] = True
    """False: the samples need a server that this test does not start; their results are checked elsewhere."""

    def harness(self, tmp_path: Path) -> Harness:
        """Override to give it a credential or a policy."""
        return Harness(self.made(), tmp_path)

    def made(self) -> Executor:
        """Override when it is made with something, for instance a folder of actions."""
        return self.executor()

    def test_the_kind_is_the_modules_name(self) -> None:
        """Built-in kinds are found by their module's name."""
        _expect(self.executor.__module__.rpartition(".")[2] == self.executor.kind, "kind and module name differ")

    def test_every_action_has_a_sample(self) -> None:
        """Else the other tests would check nothing."""
        _expect(set(self.samples) == set(self.made().declared()), "samples and actions differ")

    def test_an_unknown_action_is_refused_with_the_names_of_the_known(self, tmp_path: Path) -> None:
        """Contract 2.8."""
        ran = self.harness(tmp_path).run("noSuchAction", {})
        _expect_refusal(ran)
        for action in self.made().declared():
            _expect(action in ran.error, f"{action} is not named in: {ran.error}")

    def test_a_missing_parameter_is_named(self, tmp_path: Path) -> None:
        """And nothing is run."""
        for spec, sample in self._each():
            for name, required in _fields(spec):
                if required:
                    ran = self.harness(tmp_path).run(spec.name, {k: v for k, v in sample.items() if k != name})
                    _expect_refusal(ran)
                    _expect(f"'{name}" in ran.error, f"{spec.name}: {name} is not named in: {ran.error}")

    def test_a_parameter_of_the_wrong_type_is_named_and_never_quoted(self) -> None:
        """Whatever type it has, a value that is refused is refused by name."""
        for spec, sample in self._each():
            for name, _ in _fields(spec):
                for wrong in _WRONG:
                    try:
                        parse(spec.parameters, {**sample, name: wrong})
                    except InvalidParameter as error:
                        _expect(name in error.parameter, f"{spec.name}: {name} is not named in: {error}")
                        _expect("not expected" not in str(error), f"{spec.name}: {name} is quoted in: {error}")
                        _expect(len(str(error)) < 300, f"{spec.name}: the sentence about {name} is long: {error}")

    def test_parameters_that_are_null_count_as_not_given(self) -> None:
        """Templates produce null for empty variables (defect A22)."""
        for spec, sample in self._each():
            nulls = {name: None for name, required in _fields(spec) if not required and name not in sample}
            parse(spec.parameters, {**sample, **nulls, "headers": sample.get("headers"), "unknown": None})

    def test_a_time_limit_may_be_a_numeric_string(self) -> None:
        """Defect A22: the worker accepts it, so every executor does."""
        for spec, sample in self._each():
            for value in ("7", 7, 7.5, "7.5"):
                parse(spec.parameters, {**sample, "timeout": value, "timeoutSeconds": value})

    def test_every_action_says_whether_it_may_be_repeated(self) -> None:
        """With a bool, also for parameters that make no sense."""
        for spec, sample in self._each():
            for params in (sample, {}, {"unknown": 1}):
                _expect(isinstance(spec.may_repeat(params), bool), f"{spec.name} answers no bool")

    def test_results_can_be_sent(self, tmp_path: Path) -> None:
        """Whatever comes out: a status of the protocol, safe JSON, a short error."""
        for spec, sample in self._each() if self.run_samples else ():
            recorded = self.harness(tmp_path).run(spec.name, sample).recorded
            json.dumps(recorded, allow_nan=False).encode()
            _expect(recorded["status"] in {"success", "error"}, f"{spec.name}: {recorded['status']}")
            _expect(len(recorded["error"] or "") <= ERROR_MAX_CHARS, f"{spec.name}: the error is long")

    def _each(self) -> Iterator[tuple[ActionSpec, dict[str, Any]]]:
        for name, sample in self.samples.items():
            yield self.made().spec(name), sample


def _fields(spec: ActionSpec) -> Iterator[tuple[str, bool]]:
    """Wire name and whether it is required."""
    for name, field in spec.parameters.model_fields.items():
        yield field.alias or name, field.is_required()


def _expect_refusal(ran: Ran) -> None:
    _expect(ran.recorded["status"] == "error", f"not refused: {ran.recorded}")
    _expect(ran.recorded["exitCode"] == -1, f"exit code {ran.recorded['exitCode']}")
    _expect(ran.result.fault is Fault.JOB, f"fault {ran.result.fault}: {ran.error}")


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)
