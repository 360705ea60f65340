"""What the owner of an agent lets it do, whatever it is asked: the local policy, and whose signatures count.

Belongs here: the form of `policy.toml` and of the list of trusted keys, their strict reading, the pure decision about
one job, and how such files are read anew when they change. Knows no journal, no vault and no process: what a job asks
for is handed in, and whoever asks acts on the answer. Imports `easyalert` only. `docs/policy.md` says it for people.
"""

from easyalert.policy.asked import Asked, asked_of
from easyalert.policy.decision import Decision, RuleVerdict, decide
from easyalert.policy.owned import Owned
from easyalert.policy.reading import read_policy
from easyalert.policy.rules import Finding, Policy, Rule

__all__ = [
    "Asked",
    "Decision",
    "Finding",
    "Owned",
    "Policy",
    "Rule",
    "RuleVerdict",
    "asked_of",
    "decide",
    "read_policy",
]
