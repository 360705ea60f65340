"""The fixture of the workers' tests that these share."""

from tests.workers.conftest import make_chain

__all__ = ["make_chain"]
