"""A Jira site on a real HTTPS socket, after Atlassian's published REST API v3: issues, comments, transitions, errors.

What it knows: projects, issue types, priorities, accounts, issues with a status, and which transitions a status offers.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.faults import Cut, Silent, Slow, Status
from tests.support.listener import Handler, Listener

TRANSITIONS = {"To Do": {"11": "In Progress"}, "In Progress": {"21": "To Do", "31": "Done"}, "Done": {"41": "To Do"}}
"""Status → number of a transition → the status it leads to."""
NO_ISSUE = "Issue does not exist or you do not have permission to see it."
NO_DOCUMENT = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"


@dataclass
class Issue:
    """One issue."""

    key: str
    number: str
    fields: dict[str, Any]
    status: str = "To Do"
    comments: list[Any] = field(default_factory=list)


class JiraSite:
    """Serves on a free port until its block ends; `https://localhost:PORT` with `tls`, a server context."""

    def __init__(self, tls: Any) -> None:
        self.accounts = {"ada@example.com": "token-of-ada-0123456789"}
        self.readers = {"reader@example.com": "token-of-reader-0123456"}
        """May see, and change nothing."""
        self.projects = {"OPS"}
        self.types = {"Task", "Bug"}
        self.priorities = {"High", "Low"}
        self.assignees = {"5b10a2844c20165700ede21g"}
        self.issues: dict[str, Issue] = {}
        self.faults: list[Any] = []
        """The next requests' fates, see `tests.support.faults`."""
        self.fates: dict[str, Any] = {}
        """Text in a request → its fate."""
        self.display_name = "Ada"
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        """Method, path, headers, JSON."""
        self.held: list[str] = []
        """The authorization of those that were never answered."""
        self.over = threading.Event()
        self._listener = Listener(("127.0.0.1", 0), _Requests, self)
        self._listener.socket = tls.wrap_socket(self._listener.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._listener.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown()
        self._listener.server_close()

    def answer(self, method: str, path: str, authorization: str, document: Any) -> Status:
        """As the API's reference says."""
        name = _login(authorization)
        if name is None or {**self.accounts, **self.readers}.get(name[0]) != name[1]:
            words = "Client must be authenticated to access this resource."
            return Status(401, {"Content-Type": "text/html;charset=UTF-8"}, words.encode())
        if (method, path) == ("GET", "myself"):
            return _json(
                200, {"accountId": f"id-of-{name[0]}", "displayName": self.display_name, "emailAddress": name[0]}
            )
        if (method, path) == ("POST", "issue"):
            return self._create(name[0], document)
        found = re.fullmatch(r"issue/([^/]+)(?:/(comment|transitions))?", path)
        issue = self.issues.get(found[1]) if found else None
        if found is None or issue is None:
            return _errors(404, NO_ISSUE)
        if name[0] in self.readers:
            return _errors(403, "You do not have permission to edit issues in this project.")
        return {
            ("PUT", None): self._edit, ("POST", "comment"): _comment, ("POST", "transitions"): _transition,
        }[method, found[2]](issue, document)  # fmt: skip

    def _create(self, name: str, document: Any) -> Status:
        fields = dict(document.get("fields") or {})
        errors = self._wrong(fields)
        if fields.get("project", {}).get("key") not in self.projects:
            errors["project"] = "valid project is required"
        if fields.get("issuetype", {}).get("name") not in self.types:
            errors["issuetype"] = "Specify a valid issue type"
        if not fields.get("summary"):
            errors["summary"] = "You must specify a summary of the issue."
        if name in self.readers:
            return _errors(403, "You do not have permission to create issues in this project.")
        if errors:
            return _errors(400, **errors)
        number = len(self.issues) + 1
        issue = Issue(f"OPS-{number}", str(10_000 + number), fields)
        self.issues[issue.key] = issue
        link = f"{self.url}/rest/api/3/issue/{issue.number}"
        return _json(201, {"id": issue.number, "key": issue.key, "self": link})

    def _edit(self, issue: Issue, document: Any) -> Status:
        fields = document.get("fields") or {}
        errors = self._wrong(fields)
        if errors:
            return _errors(400, **errors)
        issue.fields |= fields
        return Status(204, {}, b"")

    def _wrong(self, fields: dict[str, Any]) -> dict[str, str]:
        errors = {}
        if "description" in fields and not is_document(fields["description"]):
            errors["description"] = NO_DOCUMENT
        if "priority" in fields and fields["priority"].get("name") not in self.priorities:
            errors["priority"] = "Specify the Priority (name) string"
        if "assignee" in fields and fields["assignee"].get("accountId") not in self.assignees:
            errors["assignee"] = "The user does not exist or cannot be assigned issues."
        for label in fields.get("labels", ()):
            if " " in label:
                errors["labels"] = f"The label '{label}' contains spaces which is invalid."
        if len(fields.get("summary", "")) > 255:
            errors["summary"] = "Summary must be less than 255 characters."
        return errors


class _Requests(Handler):
    def do_PUT(self) -> None:  # noqa: N802 - the name http.server looks for
        self.do_POST()

    def serve(self, body: bytes) -> None:
        site: JiraSite = self.server.owner
        document = json.loads(body) if body else None
        prefix, _, path = self.path.partition("/rest/api/3/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        site.seen.append((self.command, self.path, headers, document))
        fault = site.faults.pop(0) if site.faults else None
        fault = fault or next((fate for text, fate in site.fates.items() if text.encode() in body), None)
        authorization = headers.get("authorization", "")
        if isinstance(fault, Status):
            if fault.after_work:
                site.answer(self.command, path, authorization, document)
            self.send(fault)
            return
        if isinstance(fault, Slow):
            time.sleep(fault.seconds)
        answer = _errors(404, "null for uri") if prefix else site.answer(self.command, path, authorization, document)
        if isinstance(fault, Cut):
            self.cut(fault)
        elif isinstance(fault, Silent):
            self.close_connection = True
            site.held.append(authorization)
            site.over.wait(120)
        else:
            self.send(answer)


def is_document(value: Any) -> bool:
    """Whether it is an Atlassian document, as far as texts, breaks and paragraphs go."""
    if not isinstance(value, dict) or (value.get("type"), value.get("version")) != ("doc", 1):
        return False
    return all(
        block.get("type") == "paragraph"
        and all(
            part == {"type": "hardBreak"} or (part.get("type") == "text" and part.get("text"))
            for part in block["content"]
        )
        for block in value["content"]
    )


def _comment(issue: Issue, document: Any) -> Status:
    if not is_document(document.get("body")):
        return _errors(400, comment=NO_DOCUMENT)
    issue.comments.append(document["body"])
    return _json(201, {"id": str(20_000 + len(issue.comments)), "body": document["body"]})


def _transition(issue: Issue, document: Any) -> Status:
    wanted = (document.get("transition") or {}).get("id")
    if not isinstance(wanted, str) or wanted not in TRANSITIONS[issue.status]:
        return _errors(
            400,
            "It seems that you have tried to perform a workflow operation that is not valid for the current state of "
            f"this issue {issue.key}. The likely cause is that somebody has changed the issue recently.",
        )
    issue.status = TRANSITIONS[issue.status][wanted]
    return Status(204, {}, b"")


def _login(authorization: str) -> tuple[str, str] | None:
    try:
        name, _, token = base64.b64decode(authorization.removeprefix("Basic "), validate=True).decode().partition(":")
    except ValueError:
        return None
    return name, token


def _json(code: int, document: Any) -> Status:
    return Status(code, {"Content-Type": "application/json;charset=UTF-8"}, json.dumps(document).encode())


def _errors(code: int, *messages: str, **fields: str) -> Status:
    return _json(code, {"errorMessages": list(messages), "errors": fields})
