"""The private folder of a job whose program runs isolated: handed over to whoever it runs as, gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from easyalert.errors import AgentFault
from workers.sdk.context import Context

WORK: Final = "work"
"""In the folder: the program's working directory, home and place for temporary files."""


@contextlib.contextmanager
def job_folder(ctx: Context, fill: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """The folder, with WORK in it and what `fill` writes there. Raises AgentFault where that cannot be written."""
    place = ctx.tmp_dir
    try:
        place = ctx.isolation.place(ctx.tmp_dir)
        folder = Path(tempfile.mkdtemp(prefix=ctx.temporary_prefix, dir=place))
    except OSError as error:
        raise AgentFault(f"this agent cannot write to {place} ({error.strerror})") from None
    try:
        try:
            (folder / WORK).mkdir(mode=0o700)
            fill(folder)
            ctx.isolation.hand_over(folder)
        except OSError as error:
            raise AgentFault(f"this agent cannot write to {place} ({error.strerror})") from None
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
