"""`easyalert-agent dashboard`: rq-dashboard on 127.0.0.1, with an account that can only read.

rq-dashboard itself listens on every address, changes state on GET and takes the Redis password on its command line;
here it gets a loopback address, a read-only account, its settings in a private file, and a harmless serializer.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from cli.looking import settings_to_look
from easyalert.errors import ConfigurationError
from easyalert.files import write_atomically
from easyalert.queues import VIEWER_USER
from easyalert.settings import AgentSettings


def main(options: argparse.Namespace) -> int:
    """Become rq-dashboard. Raises ConfigurationError."""
    if find_spec("rq_dashboard") is None:
        raise ConfigurationError(
            "rq-dashboard is not installed, it is an optional extra:"
            f" {sys.executable} -m pip install 'rq-dashboard>=0.9'"
        )
    if not 1 <= options.port <= 65535:
        raise ConfigurationError(f"--port {options.port}: a port is a number from 1 to 65535")
    settings = settings_to_look()
    url = redis_url(settings)
    folder = settings.run_dir if settings.embedded_redis else settings.state_dir
    configuration = folder / "rq_dashboard.cfg"
    write_atomically(configuration, f"RQ_DASHBOARD_REDIS_URL = {url!r}\n".encode())
    print(
        f"the queue is at http://127.0.0.1:{options.port} (Ctrl-C ends it); who can log in here can read it", flush=True
    )
    command = [
        *(sys.executable, "-I", "-m", "cli.dashboard_server", "--bind", "127.0.0.1", "--port", str(options.port)),
        # its default is the working directory: whoever writes there would run code here
        *("--disable-delete", "--extra-path", str(Path(sys.prefix))),
    ]
    os.execve(sys.executable, command, environment(configuration))  # noqa: S606 - a program, no shell


def redis_url(settings: AgentSettings) -> str:
    """Where the dashboard reads: REDIS_URL, or the embedded server's read-only account."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    try:
        password = settings.redis_viewer_password_path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise ConfigurationError(
            f"no agent has run on {settings.state_dir} yet; start it first: easyalert-agent run"
        ) from None
    return f"unix://{VIEWER_USER}:{quote(password, safe='')}@{quote(str(settings.redis_socket))}?db=0"


def environment(configuration: Path) -> dict[str, str]:
    """Nothing of the agent's secrets goes along."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "HOME") if name in os.environ}
    return {**kept, "RQ_DASHBOARD_SETTINGS": str(configuration)}
