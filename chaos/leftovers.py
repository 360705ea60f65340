"""What is still there when all jobs are final: processes, files, Redis keys. None of it may stay."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

import psutil
from redis import Redis
from redis.exceptions import RedisError

from chaos.world import KeptAgent, World
from easyalert.queues import AGENT_USER

_SETTLE_S: Final = 15.0
_LASTING_KEYS: Final = 12
"""RQ's own sets and registries, which never expire; a key per worker comes on top."""


def of_running(kept: KeptAgent, cap: int) -> list[str]:
    """Sentences about an idle agent; what is only slow gets a moment."""
    sentences = (_still(lambda: _temporary_files(kept)), _still(lambda: _redis_keys(kept, cap)))
    return [sentence for sentence in sentences if sentence]


def of_stopped(world: World) -> list[str]:
    """Sentences about the processes that outlived their agents."""

    def strays() -> str:
        plane = world.control_plane.process
        left = [process for process in world.stray_processes() if plane is None or process.pid != plane.pid]
        return (
            f"{len(left)} processes outlived their agents: {[_described(process) for process in left]}" if left else ""
        )

    sentence = _still(strays, within=3.0)
    return [sentence] if sentence else []


def _still(look: Callable[[], str], within: float = _SETTLE_S) -> str:
    end = time.monotonic() + within
    while (sentence := look()) and time.monotonic() < end:
        time.sleep(0.2)
    return sentence


def _temporary_files(kept: KeptAgent) -> str:
    left = sorted(item.name for item in (kept.agent.state_dir / "tmp").iterdir())
    return f"agent {kept.name}: {len(left)} temporary files are left: {left[:5]}" if left else ""


def _redis_keys(kept: KeptAgent, cap: int) -> str:
    run = kept.agent.state_dir / "run"
    try:
        password = (run / "redis_password").read_text("ascii")
        with Redis(unix_socket_path=str(run / "redis.sock"), username=AGENT_USER, password=password) as client:
            lasting = sorted(key.decode() for key in client.scan_iter(count=1000) if client.ttl(key) == -1)
    except (OSError, RedisError) as error:
        return f"agent {kept.name}: its Redis does not answer ({type(error).__name__})"
    if len(lasting) <= _LASTING_KEYS + cap:
        return ""
    return f"agent {kept.name}: {len(lasting)} Redis keys never expire: {lasting[:8]}"


def _described(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[:60]}"
    return str(process.pid)
