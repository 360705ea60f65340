"""Words before a command that have it run as another account, or where something is forbidden. For tests that are root."""

from __future__ import annotations

import os
import subprocess
import sys

OTHER_ACCOUNT = 54_321
"""No account of the machine: one without rights on control groups, and without other processes."""
SCRIPTS_ACCOUNT = "nobody"
"""An account every machine has and nobody uses."""
RIGHTS_OF_USER_MODE = ("chown", "dac_override", "kill", "setgid", "setuid", "sys_ptrace")


def as_another_account(*rights: str, no_new_privileges: bool = True) -> tuple[str, ...]:
    """It may read everything: this code may lie where only root can."""
    wanted = ",".join(f"+{right}" for right in ("dac_read_search", *rights))
    options = [f"--inh-caps=-all,{wanted}", f"--ambient-caps={wanted}", "--securebits=+no_setuid_fixup"]
    if no_new_privileges:
        options.append("--no-new-privs")
    return ("setpriv", f"--reuid={OTHER_ACCOUNT}", f"--regid={OTHER_ACCOUNT}", "--clear-groups", *options, "--")


def without_user_namespaces() -> tuple[str, ...]:
    """As on a machine that forbids them: in here no further ones can be made."""
    deny = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "sh", "-c", deny, "sh")


def possible(*prefix: str) -> bool:
    """Whether this process may run Python with the agent's code so."""
    command = [*prefix, sys.executable, "-I", "-c", "import workers.pool"]
    return os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True, cwd="/").returncode == 0
