"""Libraries that tests load into the product's programs (LD_PRELOAD), compiled when they are first wanted."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_FLAGS: Final = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


@functools.cache
def library(name: str) -> Path:
    """The compiled `name`.c of this folder, once per process of the tests; it goes with the process.

    Raises RuntimeError with what the compiler said.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / f"{name}.so"
    command = ["cc", *_FLAGS, "-o", str(target), str(_HERE / f"{name}.c"), "-ldl"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name}.c cannot be compiled: {done.stderr[-2000:]}")
    return target
