"""One executor, one file, one test: nobody adds a kind without its tests."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import tests.workers.executors
import workers
import workers.executors
from workers.registry import Registry
from workers.sdk.executor_contract import ExecutorContract

KINDS = sorted(module.name for module in pkgutil.iter_modules(workers.executors.__path__))
HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", KINDS)
def test_every_executor_has_a_test_that_inherits_the_contract(kind):
    module = importlib.import_module(f"{tests.workers.executors.__name__}.test_{kind}")
    classes = [
        value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ExecutorContract)
    ]
    assert Registry().executor(kind).__class__ in {getattr(found, "executor", None) for found in classes}


@pytest.mark.parametrize("module", sorted(path.stem for path in Path(workers.__path__[0]).glob("[a-z]*.py")))
def test_every_module_has_its_test_file(module):
    assert (HERE / f"test_{module}.py").exists()
