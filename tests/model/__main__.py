"""`python -m tests.model [FAULTS]`: check the protocol, and tell how each wrong variant of it breaks its promise."""

import sys

from tests.model.checker import check
from tests.model.rules import Rules
from tests.model.variants import WRONG

faults = int(sys.argv[1]) if len(sys.argv) > 1 else 4
for name, rules in {
    "as it is": Rules(),
    "as it is, idempotent": Rules(idempotent=True),
    "as it is, with cancels": Rules(cancels=True),
    "as it is, idempotent, with cancels": Rules(cancels=True, idempotent=True),
    **{name: rules for name, (rules, _) in WRONG.items()},
}.items():
    sys.stdout.write(f"{name}: {check(rules, faults)}\n\n")
