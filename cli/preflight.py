"""Everything that is checked before a program starts, in this order; each failure is one sentence and one exit code."""

from __future__ import annotations

import errno
import logging
import os
import socket
from dataclasses import dataclass
from typing import Final

from cli import embedded_redis, lock
from cli.folders import check_disk, prepare_folders
from easyalert.delivery_key import ensure_delivery_key, public_delivery_key
from easyalert.errors import ConfigurationError
from easyalert.instance import instance_of
from easyalert.journal import Journal
from easyalert.journal.schema import set_aside_if_damaged
from easyalert.sealing import ensure_key_pair, load_private_key
from easyalert.settings import AgentSettings

log = logging.getLogger(__name__)

INSTANCE_NOTE: Final = "instance"
"""Which running agent got the permits in the journal."""
NOTES_OF_A_RUN: Final = ("registration", "poller", "heartbeat")
"""What processes have left in the journal about themselves, and what is untrue at the next start."""


@dataclass(frozen=True)
class Ready:
    """What the checks leave for the launcher."""

    lock: int
    """Descriptor of the state directory's lock."""
    redis_server: str
    """Program of the embedded Redis; empty with REDIS_URL."""


def check(settings: AgentSettings) -> Ready:
    """Prepare the state directory. Raises ConfigurationError, JournalError."""
    prepare_folders(settings)
    held = lock.hold(settings.lock_path)
    warning = check_disk(settings)  # gives the reserve back when there is no other way to start
    if warning:
        log.warning("%s", warning)
    _check_port(settings.admin_port)
    set_aside_if_damaged(settings.journal_path)
    _forget_last_run(settings)
    _prepare_keys(settings)
    _check_instance(settings)
    for leftover in (settings.redis_socket, settings.supervisor_socket, settings.wakeup_socket):
        leftover.unlink(missing_ok=True)
    server = ""
    if settings.embedded_redis:
        server = embedded_redis.find_server()
        embedded_redis.write_configuration(settings)
    if os.geteuid() == 0:
        log.warning("the agent runs as root, and so do the scripts of its jobs; an account of its own is safer")
    return Ready(held, server)


def _forget_last_run(settings: AgentSettings) -> None:
    # an agent registers at each start (contract 1.3): before that, nothing may be sent under the id of the last run
    with Journal(settings.journal_path) as journal:
        for name in NOTES_OF_A_RUN:
            if journal.note(name) is not None:
                journal.leave_note(name, None)


def _check_instance(settings: AgentSettings) -> None:
    # a permit was given to one running agent; a copy of its journal, or the next boot, asks for it anew
    instance = instance_of(settings.instance_path)
    with Journal(settings.journal_path) as journal:
        before = journal.note(INSTANCE_NOTE)
        if before == instance:
            return
        if before is not None and (withdrawn := journal.withdraw_permits()):
            log.info("the permits of %d jobs that have not started are asked for again", withdrawn)
        journal.leave_note(INSTANCE_NOTE, instance, durable=True)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # as the admin server does: a port in TIME_WAIT is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"port {port} on 127.0.0.1 is in use (see who: ss -ltnp 'sport = :{port}');"
                    " free it, or set ADMIN_PORT to another one"
                ) from None
            raise ConfigurationError(f"ADMIN_PORT {port} cannot be used: {error.strerror}") from None


def _prepare_keys(settings: AgentSettings) -> None:
    api_key = settings.agent_api_key.get_secret_value()
    secret = settings.agent_api_key_previous
    previous = None if secret is None else secret.get_secret_value()
    same = ensure_key_pair(settings.agent_key_path, api_key, previous)
    if not same:
        log.error(
            "AGENT_API_KEY does not open %s: a new key pair was made, jobs received before are answered as errors;"
            " after a rotation, set AGENT_API_KEY_PREVIOUS for the first start",
            settings.agent_key_path,
        )
    if not same or public_delivery_key(settings.delivery_key_path) is None:
        _make_delivery_key(settings, api_key)
    if previous is not None:
        from easyalert.rotation import Rotation  # noqa: PLC0415 - needed after a rotation only
        from vault import Vault, VaultKey  # noqa: PLC0415 - as above

        # the agent is useful without its vault, and says in its heartbeat that it is locked
        Rotation(settings, Vault(settings.vault_path, VaultKey(api_key, previous))).finish()


def _make_delivery_key(settings: AgentSettings, api_key: str) -> None:
    # before the first registration tells it: without one, the control plane ends jobs in which something is sealed
    agent_key = load_private_key(settings.agent_key_path, [api_key])
    if agent_key is None:
        return
    try:
        ensure_delivery_key(settings.delivery_key_path, agent_key)
    except ConfigurationError as error:  # a full disk keeps no agent from its work
        log.error("nothing can be sealed to this agent: %s", error)  # noqa: TRY400 - the sentence says it all
