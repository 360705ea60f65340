"""Data for rich messages that means harm, and where the texts of a message are."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from workers.sdk.executor import parse
from workers.sdk.rich import RichParameters
from workers.sdk.rich_document import Archetype

BOUNDED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""How long an example takes is the machine's affair."""


def rich(data, **more):
    """Parameters that ask for a rich message."""
    return parse(RichParameters, {"messageFormat": "rich", "outputData": data, **more})


HOSTILE = [
    "<!channel>", "<!here>", "<!everyone>", "<@U123>", "<https://evil.test|click>", "@channel", "```", "``` <!here> ```",
    "[click](https://evil.test)", "{{DATE(2026-01-01T00:00:00Z,SHORT)}}", "{ {TIME(x)}}", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "data:text/html,x", "\u202egnp.exe", "\ud800", "\x00\x1b[31m",
    "&lt;!here&gt;", "&amp;", "a\r\nBcc: x@evil.test", "\u2028", "`", "~~~", "# h", "1. x",
]  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=40) | st.builds(
    lambda piece, times: piece * times, st.sampled_from(HOSTILE), st.sampled_from([2, 50, 3_000])
)  # fmt: skip
NAMES = st.sampled_from(
    [
        *(
            "columns",
            "rows",
            "rowsAffected",
            "queryType",
            "statusCode",
            "headers",
            "body",
            "bodyParsed",
            "pods",
            "name",
        ),
        *("logs", "error", "issueKey", "issueId", "url", "incidentId", "severity", "title", "tags", "description"),
        *("stdout", "stderr", "exitCode", "confirmed", "delivered", "message", "channel", "content-type"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(NAMES | TEXTS, inner, max_size=6),
    max_leaves=25,
)
SHAPED = st.fixed_dictionaries({}, optional={
    "columns": st.lists(VALUES, max_size=12), "rows": st.lists(st.lists(VALUES, max_size=12) | VALUES, max_size=40),
    "pods": st.lists(st.fixed_dictionaries({"name": TEXTS, "logs": TEXTS}), max_size=12), "stdout": TEXTS,
    "incidentId": VALUES, "title": TEXTS, "url": TEXTS, "tags": VALUES, "message": VALUES, "channel": TEXTS,
})  # fmt: skip
CONTEXTS = st.fixed_dictionaries(
    {"outputType": st.sampled_from(["", *Archetype])},
    optional=dict.fromkeys(
        ("title", "sourceAction", "nodeName", "workflowName", "incidentUrl", "severity", "status", "timestamp"),
        st.sampled_from([text for text in HOSTILE if "\ud800" not in text]),
    ),
)


def texts_of(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "text" and isinstance(item, str):
                yield value
            else:
                yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
