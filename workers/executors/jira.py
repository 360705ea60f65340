"""Jira Cloud, REST API v3: issues, comments, transitions (contract 3.7).

**Who, and where to.** The token goes to the connection's `baseUrl` and nowhere else; https only. Where the vault's
entry names no `baseUrl`, the agent remembers the first one that its token was sent to.

**Long texts** (`description`, `comment`) are plain text: a blank line begins a new paragraph, lines stay lines.

**Labels** are a list, or a text with commas. One that Jira cannot take (with a space) is refused by name; none is left
out silently. An empty text or list counts as not given, so an update never clears a field.

**Pauses.** A 429 is answered by waiting as long as its `Retry-After` says, while the action's `timeout` allows it, at
most three times. Nothing else is repeated.

**In doubt.** When no answer comes after a request was sent, or a server's own error (5xx) does, the error says that it
may have taken effect.

Another status than the expected one is an error with exit code 1; `output` has `statusCode`, and in `body` what Jira
said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from easyalert.errors import Fault, InvalidParameter, TargetError
from workers.sdk import Context, Executor, ExecutorResult, action, failure, read_connection, success
from workers.sdk.jira_call import REPLY_SHOWN, Answer, JiraCall, JiraConnection
from workers.sdk.jira_document import document_of
from workers.sdk.parameters import Limited, Line, Text
from workers.sdk.stopping import cancelled, until_cancelled

DEFAULT_TIMEOUT_S: Final = 30.0
LONG_TEXT_MAX_CHARS: Final = 32_767
"""Jira's own limit for descriptions and comments."""
_BODY_KEPT: Final = 8_192
_LABEL_MAX: Final = 255
_LABELS_MAX: Final = 1_000
_PROJECT_KEY: Final = re.compile(r"[A-Z][A-Z0-9]{1,9}", re.ASCII)
_ISSUE_KEY: Final = re.compile(r"[A-Z][A-Z0-9]{1,9}-[0-9]{1,10}", re.ASCII)
_TRANSITION_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def _shaped(pattern: re.Pattern[str], problem: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(problem)
        return value

    return check


def _labels(value: Any) -> Any:
    if isinstance(value, str):
        value = _labels_in(value)
    if not isinstance(value, list):
        raise ValueError("must be a list of labels, or a text with commas between them")  # noqa: TRY004 - as pydantic wants it
    if len(value) > _LABELS_MAX:
        raise ValueError(f"holds more than {_LABELS_MAX} labels")
    return [_label(item) for item in value]


def _labels_in(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("looks like a JSON list and is none") from None
    return [part for part in (part.strip(" ") for part in text.split(",")) if part]


def _label(item: Any) -> str:
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise ValueError("holds a label that is no text")  # noqa: TRY004 - as pydantic wants it
    try:
        label = str(item)
    except ValueError:  # a number of thousands of digits
        raise ValueError("holds a label that is too long") from None
    if not label or len(label) > _LABEL_MAX:
        raise ValueError(f"holds a label that is empty or longer than {_LABEL_MAX} characters")
    if any(char.isspace() or not char.isprintable() for char in label):
        raise ValueError("holds a label with a space or a control character, which Jira does not take")
    return label


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


ProjectKey = Annotated[
    str,
    AfterValidator(_shaped(_PROJECT_KEY, "must be 2 to 10 upper-case letters and digits, a letter first")),
]
IssueKey = Annotated[
    str, AfterValidator(_shaped(_ISSUE_KEY, "must be a project's key, a hyphen and a number, like OPS-42"))
]
TransitionId = Annotated[
    str, AfterValidator(_shaped(_TRANSITION_ID, "must be the number of a transition, not its name"))
]
Summary = Annotated[Line, Field(max_length=255)]
LongText = Annotated[Text, Field(max_length=LONG_TEXT_MAX_CHARS)]
Name = Annotated[Annotated[Line, Field(max_length=255)] | None, BeforeValidator(_blank_is_none)]
Labels = Annotated[list[str], BeforeValidator(_labels)]


class CreateParameters(Limited):
    """A new issue."""

    project_key: ProjectKey = Field(alias="projectKey", description="Where it belongs, like `OPS`.")
    summary: Summary = Field(description="Its title, one line.")
    issue_type: Name = Field(default="Task", alias="issueType", description="The type's name.")
    description: Annotated[LongText | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, description="Plain text."
    )
    priority: Name = Field(default=None, description="The priority's name.")
    labels: Labels = Field(default_factory=list, description="A list, or a text with commas.")
    assignee: Name = Field(default=None, description="An account id.")


class UpdateParameters(Limited):
    """What changes; the rest stays."""

    issue_key: IssueKey = Field(alias="issueKey", description="Like `OPS-42`.")
    summary: Annotated[Summary | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, description="The new title, one line."
    )
    description: Annotated[LongText | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, description="The new one, plain text."
    )
    priority: Name = Field(default=None, description="The priority's name.")
    labels: Labels = Field(default_factory=list, description="All labels from now on: a list, or a text with commas.")


class CommentParameters(Limited):
    """What to say, and where."""

    issue_key: IssueKey = Field(alias="issueKey", description="Like `OPS-42`.")
    comment: LongText = Field(description="Plain text.")


class TransitionParameters(Limited):
    """Which way to take."""

    issue_key: IssueKey = Field(alias="issueKey", description="Like `OPS-42`.")
    transition_id: TransitionId = Field(
        alias="transitionId", description="The number of a transition that the issue's present status offers."
    )


class ConnectionTestParameters(Limited):
    """What to try is the connection's."""


@dataclass(frozen=True)
class _Wanted:
    """A request, and what is made of its answer."""

    method: str
    path: str
    document: dict[str, Any]
    status: int
    doubt: str
    """What may have happened when there is no answer."""
    output: Callable[[JiraConnection, dict[str, Any]], dict[str, Any] | None]
    """From the answer's object; None: it is not what Jira answers."""


class JiraExecutor(Executor):
    """One connection for each action."""

    kind = "jira"
    connection = JiraConnection

    @action("createIssue", idempotent=False)
    async def create_issue(self, ctx: Context, params: CreateParameters) -> ExecutorResult:
        """Create an issue."""
        fields = _fields(params.summary, params.description, params.priority, params.labels)
        fields |= {"project": {"key": params.project_key}, "issuetype": {"name": params.issue_type or "Task"}}
        if params.assignee:
            fields["assignee"] = {"accountId": params.assignee}

        def output(connection: JiraConnection, said: dict[str, Any]) -> dict[str, Any] | None:
            number, key = said.get("id"), said.get("key")
            if not isinstance(key, str) or not _ISSUE_KEY.fullmatch(key):
                return None
            url = f"{connection.base_url}/browse/{key}"
            return {"issueId": str(number), "issueKey": key, "url": url, "message": f"issue {key} was created"}

        wanted = _Wanted("POST", "issue", {"fields": fields}, 201, "the issue may have been created", output)
        return await _change(ctx, params, wanted)

    @action("updateIssue", idempotent=True)
    async def update_issue(self, ctx: Context, params: UpdateParameters) -> ExecutorResult:
        """Change fields of an issue."""
        fields = _fields(params.summary, params.description, params.priority, params.labels)
        if not fields:
            raise InvalidParameter("summary", "is required (or description, priority, or labels)")
        return await _change(
            ctx,
            params,
            _Wanted(
                "PUT", f"issue/{params.issue_key}", {"fields": fields}, 204, "the issue may have been changed",
                _about(params.issue_key, f"issue {params.issue_key} was changed"),
            ),
        )  # fmt: skip

    @action("addComment", idempotent=False)
    async def add_comment(self, ctx: Context, params: CommentParameters) -> ExecutorResult:
        """Add a comment to an issue."""
        key = params.issue_key

        def output(_: JiraConnection, said: dict[str, Any]) -> dict[str, Any] | None:
            if "id" not in said:
                return None
            return {"commentId": str(said["id"]), "issueKey": key, "message": f"a comment was added to {key}"}

        document = {"body": document_of(params.comment)}
        wanted = _Wanted(
            "POST", f"issue/{key}/comment", document, 201, "the comment may have been added", output
        )  # fmt: skip
        return await _change(ctx, params, wanted)

    @action("transitionIssue", idempotent=False)
    async def transition_issue(self, ctx: Context, params: TransitionParameters) -> ExecutorResult:
        """Move an issue to another status."""
        key = params.issue_key
        document = {"transition": {"id": params.transition_id}}
        output = _about(key, f"transition {params.transition_id} of {key} was made")
        wanted = _Wanted(
            "POST", f"issue/{key}/transitions", document, 204, "the transition may have been made", output
        )  # fmt: skip
        return await _change(ctx, params, wanted)

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Connect, and ask Jira whose token it is."""
        call = JiraCall(ctx, read_connection(ctx, JiraConnection), params.seconds(DEFAULT_TIMEOUT_S))
        try:
            answer = await until_cancelled(ctx, call.ask("GET", "myself"))
        except TargetError as error:
            return failure(str(error), output={"steps": call.steps.report()})
        if answer is None:
            return cancelled("cancelled while Jira was asked", output={"steps": call.steps.report()})
        return _tested(call, answer)


def _fields(summary: str | None, description: str | None, priority: str | None, labels: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if summary is not None:
        fields["summary"] = summary
    if description is not None:
        fields["description"] = document_of(description)
    if priority is not None:
        fields["priority"] = {"name": priority}
    if labels:
        fields["labels"] = labels
    return fields


def _about(key: str, message: str) -> Callable[[JiraConnection, dict[str, Any]], dict[str, Any]]:
    return lambda _connection, _said: {"issueKey": key, "message": message}


async def _change(ctx: Context, params: Limited, wanted: _Wanted) -> ExecutorResult:
    connection = read_connection(ctx, JiraConnection)
    call = JiraCall(ctx, connection, params.seconds(DEFAULT_TIMEOUT_S))
    try:
        answer = await until_cancelled(ctx, call.ask(wanted.method, wanted.path, wanted.document))
    except TargetError as error:
        return failure(f"{error}; {_fate(call, wanted)}", exit_code=-1)
    except TimeoutError:
        return failure(
            f"timed out after {ctx.timeout_s} seconds; {_fate(call, wanted)}",
            exit_code=-1, fault=Fault.TARGET, outcome="timed_out",
        )  # fmt: skip
    if answer is None:
        return cancelled(f"cancelled while Jira was asked; {_fate(call, wanted)}")
    if answer.status != wanted.status:
        doubt = f"; {wanted.doubt}" if answer.status >= 500 else ""
        return failure(answer.sentence(connection.where) + doubt, output=_told(answer))
    output = wanted.output(connection, answer.document if isinstance(answer.document, dict) else {})
    if output is None:
        said = f"{connection.where} answered {answer.status}, but not as Jira does; {wanted.doubt}"
        return failure(said, output=_told(answer))
    return success(output)


def _fate(call: JiraCall, wanted: _Wanted) -> str:
    return wanted.doubt if call.in_doubt else "nothing was changed"


def _told(answer: Answer, limit: int = _BODY_KEPT) -> dict[str, Any]:
    return {"statusCode": answer.status, "body": answer.text[:limit]}


def _tested(call: JiraCall, answer: Answer) -> ExecutorResult:
    """Its last step is the login: the token is looked at before anything else."""
    said = answer.document if isinstance(answer.document, dict) else {}
    names = {name: said.get(name) or "" for name in ("displayName", "emailAddress", "accountId")}
    where, account = call.connection.where, call.connection.account
    if answer.status != 200:
        sentence = answer.sentence(where)
        call.steps.failed("permission" if answer.status == 403 else "login", 0.0, sentence)
        return failure(sentence, output={**_told(answer, REPLY_SHOWN), "steps": call.steps.report()})
    if not names["accountId"]:
        sentence = f"{where} answered 200, but not as Jira does; check the connection's baseUrl"
        call.steps.failed("login", 0.0, sentence)
        return failure(sentence, output={**_told(answer, REPLY_SHOWN), "steps": call.steps.report()})
    call.steps.passed("login", 0.0, account)
    return success({**names, "message": f"{where} knows {account}", "steps": call.steps.report()})
