"""`scripts/up`: start, show, stay until Ctrl-C, stop in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from deploy.quickstart import first_start, report, sample
from deploy.quickstart.down import stop_all
from deploy.quickstart.errors import EXIT_OK, QuickstartError
from deploy.quickstart.home import Home, environment_file
from deploy.quickstart.operator import Operator
from deploy.quickstart.program import Program, choose_port, clean_environment, command, ignore_terminal_signals
from deploy.quickstart.record import Record
from easyalert.runtime import this_process

USUAL_PORT: Final = 8080
USUAL_ADMIN_PORT: Final = 9191
_READY_WITHIN_S = 60.0
_STATUS_EVERY_S = 1.0


class Start:
    """One start: the steps in their order. `stop_everything` undoes whatever was reached."""

    def __init__(self, home: Home, port: int | None, stopping: threading.Event) -> None:
        self.home = home
        self._stopping = stopping
        self.port = choose_port(port, _port_before(home))
        self.url = f"http://127.0.0.1:{self.port}"
        self._base = clean_environment(os.environ)
        self._controlplane: Program | None = None
        self._agent: Program | None = None
        self.operator = Operator(self.url)
        self._identity: first_start.AgentIdentity | None = None

    def controlplane(self) -> None:
        """Start it and wait until it answers."""
        environment = self._controlplane_env()
        program = Program(
            "control plane",
            command("easyalert-controlplane", "serve"),
            environment,
            log=self.home.log("controlplane"),
            cwd=self.home.path,
        )
        self._controlplane = program
        self._record()
        self._await(self.operator.healthy, "the control plane", "answer")
        self.home.port.write_text(str(self.port))

    def make_agent(self) -> bool:
        """Make token, agent and key if there are none. True when the agent is new. After `controlplane`."""
        environment = self._controlplane_env()
        self.operator.close()
        self.operator = Operator(self.url, first_start.operator_token(self.home, environment))
        self._identity, fresh = first_start.agent_identity(self.home, environment)
        return fresh

    @property
    def agent_id(self) -> str:
        """Of the agent; after `make_agent`."""
        assert self._identity is not None  # noqa: S101 - the order of the steps is the caller's
        return self._identity.id

    def agent(self) -> None:
        """Start it and wait until it is online. After `make_agent`."""
        assert self._identity is not None  # noqa: S101 - as above
        settings = {
            "AGENT_API_URL": self.url,
            "AGENT_API_KEY": self._identity.key,
            "AGENT_NAME": self._identity.name,
            "STATE_DIR": str(self.home.agent_dir),
            # beside the agent's own: its key, the operator's token, the control plane
            "SCRIPT_HIDDEN_PATHS": str(self.home.path),
            "ADMIN_PORT": str(choose_port(None, USUAL_ADMIN_PORT)),
        }
        self.home.write_secret(self.home.agent_env, environment_file(settings))
        before = self.operator.agent(self.agent_id)["registeredAt"]
        self._agent = Program(
            "agent",
            command("easyalert-agent", "run"),
            {**self._base, **settings},
            log=self.home.log("agent"),
            cwd=self.home.path,
        )
        self._record()
        self._await(lambda: self._registered_since(before), "the agent", "come online")

    def watch(self) -> None:
        """Live status until it is time to stop. Raises QuickstartError when a program ends by itself."""
        line = report.StatusLine(sys.stdout)
        try:
            while not self._stopping.wait(_STATUS_EVERY_S):
                self.check()
                with suppress(QuickstartError):  # a busy machine may miss a second; a dead program is seen above
                    line.show(report.status(self.operator.agent(self.agent_id), self.operator.waiting(self.agent_id)))
        finally:
            line.close()

    def check(self) -> None:
        """Raises QuickstartError when a started program has ended by itself."""
        for program in (self._controlplane, self._agent):
            if program is not None:
                program.check()

    def detach(self) -> None:
        """Leave it running without this process."""
        self._record(detached=True)
        self.operator.close()

    def stop_everything(self) -> None:
        """The agent first: it finishes its jobs and reports them to a control plane that is still there."""
        self.operator.close()
        try:
            stop_all(
                self._agent.identity if self._agent is not None and self._agent.running else None,
                self._controlplane.identity if self._controlplane is not None and self._controlplane.running else None,
            )
        finally:
            for program in (self._agent, self._controlplane):
                if program is not None:
                    program.reap()
            self.home.running.unlink(missing_ok=True)

    def _controlplane_env(self) -> dict[str, str]:
        return {
            **self._base,
            "EASYALERT_CP_DATA_DIR": str(self.home.controlplane_dir),
            "EASYALERT_CP_HOST": "127.0.0.1",
            "EASYALERT_CP_PORT": str(self.port),
        }

    def _record(self, *, detached: bool = False) -> None:
        if self._controlplane is not None:
            agent = None if self._agent is None else self._agent.identity
            up = None if detached else this_process()
            Record(self.port, self._controlplane.identity, agent, up).write(self.home.running)

    def _registered_since(self, before: str | None) -> bool:
        agent = self.operator.agent(self.agent_id)
        return bool(agent["registeredAt"] != before and agent["status"] != "offline")

    def _await(self, ready: Callable[[], bool], who: str, what: str) -> None:
        end = time.monotonic() + _READY_WITHIN_S
        while not ready():
            self.check()
            if time.monotonic() > end:
                raise QuickstartError(
                    f"After {_READY_WITHIN_S:.0f} s {who} does not {what}; see {self.home.path / 'logs'}"
                )
            if self._stopping.wait(0.05):
                raise StartInterruptedError


class StartInterruptedError(QuickstartError):
    """Ctrl-C while starting: everything is stopped again, and that is what was wanted."""

    exit_code = EXIT_OK


def up(home: Home, port: int | None, *, detach: bool) -> int:
    """Run the command; its exit code. Raises QuickstartError; everything it started is stopped by then."""
    home.prepare()
    with home.locked():
        found = Record.read(home.running)
        if found is not None and found.whole:
            say(f"Already running: http://127.0.0.1:{found.port}, state in {home.path}. 'scripts/down' stops it.")
            return EXIT_OK
        if found is not None and found.alive:
            say("Of the last start only a part still runs; stopping that first ...")
            stop_all(found.agent, found.controlplane)
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: stopping.set())
        start = Start(home, port, stopping)
        try:
            _begin(start)
            if detach:
                start.detach()
                _say_how_to_go_on(home)
                return EXIT_OK
            say("\nLive status; Ctrl-C stops everything.")
            start.watch()
        except BaseException:
            ignore_terminal_signals()
            say("\nStopping what was started ...")
            start.stop_everything()
            raise
        ignore_terminal_signals()
        say("Stopping: running jobs get 30 s to finish ...")
        start.stop_everything()
        say(f"Stopped. Everything is kept in {home.path}.")
        return EXIT_OK


def _begin(start: Start) -> None:
    say(f"EasyAlert: a control plane and one agent on this machine; state in {start.home.path}")
    began = time.monotonic()
    start.controlplane()
    say(f"  control plane   {start.url}   ready after {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    fresh = start.make_agent()
    start.agent()
    say(f"  agent           {start.agent_id}   online after {time.monotonic() - began:.1f} s")
    say("\nSample jobs through all of it, each from submission to its result:\n")
    say(report.sample(sample.run(start.operator, start.agent_id, store=fresh)))


def _say_how_to_go_on(home: Home) -> None:
    chosen = "" if home == Home.from_environment({}) else f"EASYALERT_HOME='{home.path}' "
    say(
        "\nIt goes on running. To look at it and to stop it:\n"
        f"  set -a; . '{home.agent_env}'; set +a; .venv/bin/easyalert-agent status\n"
        f"  {chosen}scripts/down"
    )


def _port_before(home: Home) -> int:
    """The port of the last start, so that addresses people wrote down stay true; else the usual one."""
    try:
        return int(home.port.read_text())
    except (OSError, ValueError):
        return USUAL_PORT


def say(text: str) -> None:
    """To the person."""
    print(text, flush=True)
