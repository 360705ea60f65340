"""Rich messages for mailboxes: no text makes a tag of its own."""

import html.parser
import re

from hypothesis import given

from tests.workers.sdk.rich_hostile import BOUNDED, CONTEXTS, SHAPED, VALUES, rich
from workers.sdk.rich_email import email_bodies


class _Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen |= {tag, *(f"{tag} {name}" for name, _ in attrs)}
        for name, value in attrs:
            assert name != "href" or re.match(r"https?://", value)


OWN_TAGS = {
    "html", "head", "meta", "meta charset", "title", "body", "body style", "h2", "h2 style", "table", "table style", "tr",
    "th", "th style", "td", "td style", "p", "p style", "pre", "pre style", "b", "a", "a href", "a rel",
}  # fmt: skip


@BOUNDED
@given(SHAPED | VALUES, CONTEXTS)
def test_any_data_for_mail_makes_no_tag_of_its_own(data, context):
    """Defect C25."""
    html_body, plain = email_bodies(rich(data, **context))
    tags = _Tags()
    tags.feed(html_body)
    assert tags.seen <= OWN_TAGS
    for body in (html_body, plain):
        body.encode()
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", body)
        assert len(body) < 400_000
