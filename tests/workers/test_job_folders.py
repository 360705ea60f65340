from __future__ import annotations

import pytest

from easyalert.errors import AgentFault
from workers.executors.script import Script
from workers.job_folders import WORK, job_folder
from workers.sdk.harness import Harness


@pytest.fixture
def ctx(tmp_path):
    return Harness(Script(), tmp_path).context("bash", {})


def test_it_is_private_filled_and_gone_afterwards(ctx, tmp_path):
    with job_folder(ctx, lambda folder: (folder / "file").write_text("x") and None) as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(ctx.temporary_prefix)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / WORK).is_dir()
        assert (folder / "file").read_text() == "x"
    assert not folder.exists()


def test_what_cannot_be_written_is_the_agents_fault_and_leaves_nothing(ctx, tmp_path):
    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(AgentFault, match="No space left"), job_folder(ctx, full):
        pytest.fail("entered")
    assert list(tmp_path.iterdir()) == []
