from __future__ import annotations

from tests.workers.sdk.test_context import context
from workers.sdk.streams import CommandStreams


class Heard:
    def __init__(self):
        self.said = []
        self.ticks = 0

    def feed(self, stream, data):
        self.said.append((stream, data))

    def wait(self):
        return None

    def tick(self):
        self.ticks += 1


def test_a_secret_across_two_pieces_is_neither_kept_nor_heard():
    heard = Heard()
    ctx = context(known_secrets=("s3cr3t-of-the-agent",), live=heard)
    streams = CommandStreams(ctx)
    streams.stdout.feed(b"before s3cr3t-of")
    streams.stdout.feed(b"-the-agent after\n")
    streams.stderr.feed(b"oops\n")
    streams.tick()
    streams.finish()
    assert streams.output == {"stdout": "before [REDACTED] after\n", "stderr": "oops\n", "truncated": False}
    assert b"".join(data for name, data in heard.said if name == "stdout") == b"before [REDACTED] after\n"
    assert heard.ticks == 1
