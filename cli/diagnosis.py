"""What is wrong with an agent, from its collected state. A finding: `{"sentence", "next"}`, next a command to run."""

from __future__ import annotations

import shlex
from typing import Any, Final

from cli.looking import UNSET_URL
from easyalert.settings import AgentSettings

Part = dict[str, Any]

SEE_LOG: Final = "the agent's log says why: journalctl -u easyalert-agent, or the terminal of `easyalert-agent run`"

HOW_TO_ISOLATE: Final = "mend what it says, or set SCRIPT_ISOLATION; docs/isolation.md says what each way needs"


def problems(settings: AgentSettings, state: Part) -> list[Part]:
    """What makes a running agent degraded, the most telling first."""
    return [*_programs(state), *_control_plane(settings, state), *_storage(settings, state)]


def _programs(state: Part) -> list[Part]:
    if not state["programs"]:
        return [_advice("supervisord does not answer", SEE_LOG)]
    found = []
    for program in state["programs"]:
        if program["state"] == "STARTING":
            found.append(_advice(f"{program['name']} is starting", "easyalert-agent status, in a few seconds"))
        elif program["state"] != "RUNNING":
            found.append(_advice(f"{program['name']} does not run ({program['state']})", SEE_LOG))
    return found


def _control_plane(settings: AgentSettings, state: Part) -> list[Part]:
    plane = state["controlPlane"]
    if state["keyInUse"]:
        command = (
            "on the control plane: easyalert-controlplane agents create NAME; its key is this agent's AGENT_API_KEY"
        )
        return [_advice(state["keyInUse"], command)]
    if settings.agent_api_url == UNSET_URL:
        command = "check AGENT_API_URL and AGENT_API_KEY in the agent's settings"
    else:
        url = shlex.quote(settings.agent_api_url)
        command = f"curl -sS -o /dev/null -w '%{{http_code}}\\n' {url}; then check AGENT_API_KEY"
    if state["agentId"] is None:
        reason = f": {plane['lastError']}" if plane["lastError"] else ""
        return [_advice(f"not registered with the control plane yet{reason}", command)]
    if plane["state"] != "ok":
        reason = f": {plane['lastError']}" if plane["lastError"] else ""
        return [_advice(f"the control plane has not answered lately{reason}", command)]
    return []


def _storage(settings: AgentSettings, state: Part) -> list[Part]:
    found = []
    if state["paused"] and not state["pause"]:  # a wanted pause is no problem
        folder = shlex.quote(str(settings.state_dir))
        found.append(_advice(f"no new jobs are taken: {state['paused']}", f"df -h {folder}"))
    elif state.get("freeDiskMb") is not None and state["freeDiskMb"] < settings.min_free_disk_mb:
        # on a disk that is full to the last byte the poller cannot write down that it has paused
        sentence = f"the disk that holds {settings.state_dir} has {state['freeDiskMb']} MB free: no new jobs are taken"
        found.append(_advice(sentence, f"df -h {shlex.quote(str(settings.state_dir))}"))
    if state["redis"]["state"] == "unavailable":
        found.append(_advice("Redis does not answer", SEE_LOG))
    if state["jobs"]["state"] != "ok":
        found.append(_advice(state["jobs"]["error"] or "there is no job journal", SEE_LOG))
    if state["vault"]["state"] in {"locked", "damaged", "unavailable"}:
        found.append(_advice(state["vault"]["error"], f"ls -l {shlex.quote(str(settings.vault_path))}*"))
    if state["isolation"]["mode"] == "refused":
        found.append(_advice(state["isolation"]["sentence"], HOW_TO_ISOLATE))
    if state["policy"]["state"] != "ok":
        reason = f": {state['policy']['error']}" if state["policy"]["error"] else ""
        found.append(_advice(f"policy: {state['policy']['state']}{reason}", "easyalert-agent policy show"))
    return found


def hints(state: Part) -> list[Part]:
    """What wants a look and degrades nothing."""
    found = []
    if (pause := state["pause"]) is not None:
        local = pause["kind"] == "paused"
        undo = "easyalert-agent resume" if local else "enable the agent on the control plane"
        found.append(_advice(f"no new jobs are {'started' if local else 'taken'}: {pause['sentence']}", undo))
    if state["isolation"]["mode"] == "none" and state["isolation"]["asked"] != "none":
        found.append(_advice(f"scripts are not isolated: {state['isolation']['reason']}", HOW_TO_ISOLATE))
    if state["running"] and state["poller"] not in {None, "ok"}:  # one failed request is no reason for an alarm
        waiting = state["jobs"].get("undelivered")
        results = f"; {waiting} results wait to be delivered" if waiting else ""
        found.append(_advice(f"the poller does not get on: {state['poller']}{results}", SEE_LOG))
    if state["jobs"].get("rejected"):
        count = state["jobs"]["rejected"]
        found.append(_advice(f"{count} results were refused by the control plane", "easyalert-agent jobs --rejected"))
    if state["jobs"].get("undelivered") and not state["running"]:
        count = state["jobs"]["undelivered"]
        found.append(_advice(f"{count} results wait to be delivered", "easyalert-agent run"))
    return found


def _advice(sentence: str, command: str) -> Part:
    return {"sentence": sentence, "next": command}
