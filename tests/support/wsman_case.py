"""Jobs of the winrm executor at a WsmanServer."""

import time

from workers.executors.winrm import Winrm
from workers.sdk.harness import Harness

PASSWORD = "pass-w0rd-of-admin"
HI = "Write-Output 'hi'"


def entry(port, **more):
    return {"host": "127.0.0.1", "port": port, "username": "admin", "password": PASSWORD, **more}


def run_job(
    folder, credential, params, *, name="executeCommand", timeout_s=300, cancelled=lambda: False, late=lambda: False
):
    """As the worker records it, with its outcome. The password is never in it.

    `late`: when true, the action's own limit of a minute is over, and the job's is not.
    """
    clock = lambda: time.monotonic() + (100 if late() else 0)  # noqa: E731 - one line says it best
    harness = Harness(Winrm(), folder, credential=credential, cancelled=cancelled, clock=clock)
    ran = harness.run(name, {"timeout": 60, **params}, timeout_s=timeout_s)
    assert PASSWORD not in str(ran.recorded)
    return ran.recorded | {"outcome": ran.result.outcome}
