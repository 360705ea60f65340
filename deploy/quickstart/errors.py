"""What can go wrong with a quick start, as sentences for the person in front of it, and the exit codes.

::

    QuickstartError             a step failed                                   exit 1
    └── NotPossibleError             a person has to change something first          exit 2
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
"""A step failed: a program did not start or ended by itself, or the sample job did not succeed."""
EXIT_NOT_POSSIBLE: Final = 2
"""Wrong usage, a port in use, no rights, no room on the disk."""


class QuickstartError(Exception):
    """A step failed. The text says what happened and what to run next; it never holds a secret."""

    exit_code: ClassVar[int] = EXIT_FAILED


class NotPossibleError(QuickstartError):
    """Nothing was started: a person has to change something first."""

    exit_code: ClassVar[int] = EXIT_NOT_POSSIBLE
