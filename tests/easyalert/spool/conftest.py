from __future__ import annotations

import pytest

from easyalert.runtime import this_process
from easyalert.spool import JobOfSpool, Place, SpoolReader, SpoolWriter


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "output"


@pytest.fixture
def make(folder):
    """A small writer for job `k`: 4 KiB of head, 4 KiB of tail, segments of 1 KiB."""

    def writer(key: str = "k", **limits: int) -> SpoolWriter:
        sizes = {"head": 4096, "tail": 4096, "segment": 1024, **limits}
        return SpoolWriter(folder, key, JobOfSpool("job_1", 1, this_process()), **sizes)

    return writer


@pytest.fixture
def everything(folder):
    """All frames of a spool."""

    def read(key: str = "k", limit: int = 10_000_000) -> list:
        reader, place, found = SpoolReader(folder / key), Place(), []
        while True:
            frames, place = reader.read(place, limit)
            if not frames:
                return found
            found += frames

    return read
