"""A command's two streams on their way: through the redactor, into what is kept for the result, and to who follows."""

from __future__ import annotations

from typing import Literal

from workers.sdk.context import Context
from workers.sdk.output import BoundedOutput, command_output

StreamName = Literal["stdout", "stderr"]


class OutputStream:
    """One of them. Feed bytes as they come, `finish` once."""

    def __init__(self, ctx: Context, name: StreamName, kept: BoundedOutput | None = None) -> None:
        self.kept = kept or BoundedOutput()
        """What the result gets: redacted, head and tail."""
        self._name = name
        self._redactor = ctx.redactor.stream()
        self._live = ctx.live

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        self._take(self._redactor.feed(chunk))

    def finish(self) -> None:
        """Let go what the redactor held back because a secret could have begun in it."""
        self._take(self._redactor.finish())

    def _take(self, clean: bytes) -> None:
        self.kept.feed(clean)
        self._live.feed(self._name, clean)


class CommandStreams:
    """Both streams of a remote command. Make it after `ctx.credential()` was read: only then are its strings known."""

    def __init__(self, ctx: Context) -> None:
        self.stdout = OutputStream(ctx, "stdout")
        self.stderr = OutputStream(ctx, "stderr")
        self._live = ctx.live

    def tick(self) -> None:
        """Let live output out that waits for its time; call it a few times a second while the command is silent."""
        self._live.tick()

    def finish(self) -> None:
        """The command has ended, or was given up."""
        self.stdout.finish()
        self.stderr.finish()

    @property
    def output(self) -> dict[str, object]:
        """The shape of contract 2.3; partial when the command was given up."""
        return command_output(self.stdout.kept, self.stderr.kept)
