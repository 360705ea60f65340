"""Rich messages: what a job gives for one, and the choice of its archetype (contract 3.13).

::

    class MessageParameters(RichParameters): ...

    if params.is_rich:
        text, blocks = slack_message(params)       # workers.sdk.rich_slack
        card = teams_card(params)                  # workers.sdk.rich_teams
        html, plain = email_bodies(params)         # workers.sdk.rich_email

One formatter for each archetype (`workers.sdk.rich_formatters`) makes a `Document` that knows no medium; one layout for
each medium draws it, escapes every text of it, and stays within the service's limits. Nothing here raises for
`outputData`, whatever it is: what no formatter can use is shown as JSON.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from easyalert.protocol.results import json_safe
from workers.sdk.executor import Parameters
from workers.sdk.http_body import parse_json
from workers.sdk.rich_document import Archetype

_CONTEXT_MAX_CHARS: Final = 4_000
_DATA_TEXT_MAX_CHARS: Final = 10_485_760


def _lower(value: Any) -> Any:
    return (value.strip().lower() or "plain") if isinstance(value, str) else value


Format = Annotated[Literal["plain", "rich"], BeforeValidator(_lower)]


def _context(alias: str | None, description: str) -> Any:
    return Field(default="", alias=alias, max_length=_CONTEXT_MAX_CHARS, description=description)


class RichParameters(Parameters):
    """The parameters that rich messages have, of every medium."""

    message_format: Format = Field(
        default="plain", alias="messageFormat", description="`plain`, or `rich` to draw `outputData`."
    )
    output_data: Any = Field(
        default=None, alias="outputData", description="What a rich message shows: an object, or a text holding JSON."
    )
    output_type: str = _context("outputType", "The archetype, where it should not be told from the data.")
    title: str = _context(None, "The heading; else the node's name, else the action.")
    source_action: str = _context("sourceAction", "The action that `outputData` comes from.")
    node_name: str = _context("nodeName", "The node that it comes from.")
    workflow_name: str = _context("workflowName", "The workflow that it comes from.")
    incident_url: str = _context("incidentUrl", "Linked, if it is an http or https address.")
    severity: str = _context(None, "Of the incident.")
    status: str = _context(None, "Of the incident or the workflow.")
    timestamp: str = _context(None, "When it was.")

    @property
    def is_rich(self) -> bool:
        """Whether there is a rich message to draw: it is asked for, and there is data."""
        return self.message_format == "rich" and bool(output_data(self))


def output_data(params: RichParameters) -> Any:
    """`outputData` as JSON values that every medium takes: parsed where it is JSON in a text; falsy for nothing."""
    data = params.output_data
    if isinstance(data, str):
        data = data.strip()
        if len(data) <= _DATA_TEXT_MAX_CHARS:
            with contextlib.suppress(ValueError):  # then it is shown as the text that it is
                data = parse_json(data)
    return json_safe(data)


def archetype_of(params: RichParameters, data: Any) -> Archetype:
    """`outputType` if it names one, else by the keys of `data`, else by the action, else unknown (contract 3.13)."""
    named = params.output_type.strip().lower()
    if named in set(Archetype):
        return Archetype(named)
    return (_by_keys(data) if isinstance(data, dict) else None) or _by_action(params.source_action)


def _by_keys(data: Mapping[str, Any]) -> Archetype | None:
    has = data.keys()
    rules: tuple[tuple[bool, Archetype], ...] = (
        ({"columns", "rows"} <= has, Archetype.TABULAR),
        ("rowsAffected" in has or data.get("queryType") == "modify", Archetype.DB_MODIFY),
        ({"statusCode", "headers"} <= has, Archetype.HTTP_RESPONSE),
        (isinstance(data.get("pods"), list), Archetype.POD_LOGS),
        ("issueKey" in has and bool({"url", "issueId"} & has), Archetype.ISSUE_TRACKER),
        ("incidentId" in has or {"severity", "title"} <= has, Archetype.INCIDENT),
        (bool({"stdout", "stderr"} & has), Archetype.TERMINAL),
        (bool({"confirmed", "delivered"} & has) or {"message", "channel"} <= has, Archetype.CONFIRMATION),
    )
    return next((archetype for fits, archetype in rules if fits), None)


_BY_ACTION: Final[Mapping[str, Archetype]] = {
    "ssh": Archetype.TERMINAL,
    "script": Archetype.TERMINAL,
    "winrm": Archetype.TERMINAL,
    "os": Archetype.TERMINAL,
    "kubernetes": Archetype.TERMINAL,
    "database": Archetype.TABULAR,
    "http": Archetype.HTTP_RESPONSE,
    "jira": Archetype.ISSUE_TRACKER,
    "incident": Archetype.INCIDENT,
    "slack": Archetype.CONFIRMATION,
    "teams": Archetype.CONFIRMATION,
    "email": Archetype.CONFIRMATION,
    "notification": Archetype.CONFIRMATION,
}


def _by_action(action: str) -> Archetype:
    return _BY_ACTION.get(action.strip().partition(".")[0].lower(), Archetype.UNKNOWN)
