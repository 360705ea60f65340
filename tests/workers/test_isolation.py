from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from easyalert.errors import AgentFault
from tests.support.require import missing
from tests.workers.isolated import home, left, run, settings
from workers.isolation import Isolation, scripts_dir
from workers.isolation_trial import find_isolation
from workers.namespace_keeper import Sandbox

pytestmark = pytest.mark.system

__all__ = ["home"]


def test_a_step_that_fails_is_named_and_nothing_is_run(home):
    (home / "state/tmp/job").mkdir()
    broken = Isolation("userns", "userns", sandbox=Sandbox(hidden=(home / "state/tmp/job/\udcff",)))
    gone = home / "state/tmp/gone"
    with pytest.raises(AgentFault, match="could not isolate the script, so it was not run: mounts"):
        broken.start(["/bin/true"], env={}, cwd=gone, folder=gone)
    assert not left()


def test_the_folder_of_another_accounts_script_is_its_own_and_goes_afterwards(home):
    if os.geteuid() != 0:
        missing("only root may become another account")
    found = find_isolation(settings(home, script_isolation="user:nobody"), "agent-of-tests")
    assert found.mode == "user", found.sentence
    result = run(home, found, "id -un; pwd; stat -c %U:%a . ..; touch x; ls -a ../..; exit 0")
    name, folder, own, above = result["output"]["stdout"].split()[:4]
    assert (name, own, above) == ("nobody", "nobody:700", "nobody:700")
    assert Path(folder).is_relative_to(scripts_dir("agent-of-tests"))
    assert "Permission denied" in result["output"]["stderr"], "which scripts others have is nobody's business"
    assert list(scripts_dir("agent-of-tests").iterdir()) == []
    assert scripts_dir("agent-of-tests").stat().st_uid == pwd.getpwuid(os.geteuid()).pw_uid
    scripts_dir("agent-of-tests").rmdir()
