"""A program in a network of its own: every address there is, of both families, leads back to this machine.

Linux only. The network, the processes and the mounts are namespaces that vanish with their first process; nothing is
left behind, whatever happens. As root, or where the kernel lets anybody make user namespaces.
"""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.require import missing, require_program

ROOT = Path(__file__).parents[2]
DNS = "127.0.0.53"
_RESOLV = f"nameserver {DNS}\nsearch .\noptions timeout:2 attempts:1\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_NSSWITCH = "hosts: files dns\n"
# AnyIP: a local route for everything makes each address one that can be listened on and connected to.
_PREPARE = """set -e
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
for name in resolv.conf hosts nsswitch.conf; do mount --bind "$1/$name" "/etc/$name"; done
shift
exec "$@"
"""


def run_in_own_network(module, given, within=100.0):
    """`python -m MODULE` there, with the text `given` on stdin; its stdout. DNS questions go to port 53 of `DNS`."""
    unshare = _unshare()
    with tempfile.TemporaryDirectory(prefix="ea-net-") as folder:
        for name, text in (("resolv.conf", _RESOLV), ("hosts", _HOSTS), ("nsswitch.conf", _NSSWITCH)):
            (Path(folder) / name).write_text(text)
        done = subprocess.run(
            [*unshare, "sh", "-c", _PREPARE, "sh", folder, sys.executable, "-m", module],
            input=given.encode(),
            capture_output=True,
            timeout=within,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-8000:]
    return done.stdout.decode()


@functools.cache
def _unshare():
    """The command that makes the namespaces."""
    program = require_program("unshare", package="util-linux")
    require_program("ip", package="iproute2")
    command = [program, "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-root-user"]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        missing(f"this account may make no network namespace ({tried.stderr.decode(errors='replace').strip()})")
    return command
