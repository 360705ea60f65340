"""One output of each archetype, with what must not get through; `python -m tests.workers.sdk.rich_samples` draws them anew.

What comes out stands in `golden/`, to be looked at when it changes.
"""

import json
from pathlib import Path

from workers.sdk.executor import parse
from workers.sdk.rich import RichParameters
from workers.sdk.rich_email import email_bodies
from workers.sdk.rich_slack import slack_message
from workers.sdk.rich_teams import teams_card

GOLDEN = Path(__file__).parent / "golden"
MEDIA = ("slack.json", "teams.json", "html", "txt")
CONTEXT = {
    "messageFormat": "rich", "workflowName": "Disk <watch>", "severity": "critical", "status": "open",
    "timestamp": "2026-03-24T09:15:02Z", "incidentUrl": "https://app.easyalert.test/i/42?a=1&b=2",
}  # fmt: skip
SAMPLES = {
    "tabular": {
        "outputData": {
            "queryType": "select", "columns": ["id", "na|me"], "rowCount": 2, "truncated": False,
            "rows": [[1, "<!channel> & co"], [2, None]],
        },
        "sourceAction": "database.executeQuery",
    },
    "db_modify": {
        "outputData": {
            "queryType": "modify", "rowsAffected": 3, "statusMessage": "UPDATE 3",
            "databaseType": "mysql", "dbname": "app",
        },
    },
    "http_response": {
        "outputData": {
            "statusCode": 503, "headers": {"content-type": "application/json"}, "body": '{"a":1}',
            "bodyParsed": {"status": "<b>down</b>"},
        },
        "nodeName": "Ask the shop",
    },
    "pod_logs": {
        "outputData": {
            "pods": [
                {"name": "api-7c9-x1", "logs": "".join(f"line {n}\n" for n in range(40)), "error": None},
                {"name": "api-7c9-x2", "logs": "", "error": "container is waiting"},
            ],
            "matchedCount": 2, "mode": "regex", "partialFailure": True,
        },
    },
    "issue_tracker": {
        "outputData": {
            "issueKey": "OPS-7", "issueId": "10007", "message": "created OPS-7",
            "url": "https://x.atlassian.test/browse/OPS-7",
        },
    },
    "incident": {
        "outputData": {
            "incidentId": "inc_1", "title": "Disk *full* <img src=x>", "severity": "high", "service": "shop",
            "description": "No space on [db-2](javascript:alert(1)).", "tags": {f"t{n}": n for n in range(10)},
        },
    },
    "terminal": {
        "outputData": {"stdout": "up 3 days\n```\n<@U123>\n", "stderr": "\x1b[31mwarning\x1b[0m\n", "truncated": False},
        "sourceAction": "ssh.executeCommand",
    },
    "confirmation": {
        "outputData": {"message": "disk 91% on db-2", "channel": "#ops", "delivered": True},
    },
    "unknown": {
        "outputData": '{"a": {"b": [1, 2.5, null, true]}, "text": "{{DATE(2026-03-24T09:15:02Z,SHORT)}}"}',
        "title": "What came <out>",
    },
}  # fmt: skip


def parameters(archetype):
    return parse(RichParameters, CONTEXT | SAMPLES[archetype])


def drawn(archetype):
    """Each medium's message as text."""
    params = parameters(archetype)
    text, blocks = slack_message(params)
    html, plain = email_bodies(params)
    cards = ({"text": text, "blocks": blocks}, teams_card(params))
    as_json = [json.dumps(card, ensure_ascii=False, indent=1) for card in cards]
    return dict(zip(MEDIA, [*(f"{value}\n" for value in as_json), html, plain], strict=True))


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in SAMPLES:
        for medium, message in drawn(name).items():
            (GOLDEN / f"{name}.{medium}").write_text(message)
