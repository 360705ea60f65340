"""The one way for a test to be skipped: a missing program skips on a laptop and fails where CI=true."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def require_program(name: str, *alternatives: str, package: str) -> str:
    """The path of `name` or of the first alternative on PATH. `package` is what a person would install."""
    for program in (name, *alternatives):
        found = shutil.which(program)
        if found:
            return found
    return missing(f"the program {name} is not installed (package {package})")


def missing(what: str) -> NoReturn:
    """Skip the test because of `what`; in CI that is a failure, so that nothing is left out unseen."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{what}, and with CI=true nothing may be skipped", pytrace=False)
    pytest.skip(what)
