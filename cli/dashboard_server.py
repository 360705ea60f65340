"""`python -I -m cli.dashboard_server …`: the stock rq-dashboard, which here unpickles nothing but primitives.

By itself it reads jobs and results with the standard pickle, so that looking at a page would run what anybody who can
write to Redis has put there, with the rights of whoever started the dashboard.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from easyalert.queues import PrimitiveSerializer
from easyalert.runtime import harden

_OF_RQ: Final = ("DefaultSerializer", "PickleSerializer")


def main() -> None:
    """Serve, with rq-dashboard's own arguments, until SIGTERM or Ctrl-C."""
    harden()
    disarm()
    import_module("rq_dashboard.cli").main()


def disarm() -> None:
    """Have RQ know no other serializer than ours, whatever it is asked for; before rq-dashboard takes its own."""
    serializers = import_module("rq.serializers")
    for name in _OF_RQ:
        setattr(serializers, name, PrimitiveSerializer)
    serializers.SERIALIZER_ALIASES["pickle"] = PrimitiveSerializer


if __name__ == "__main__":
    main()
