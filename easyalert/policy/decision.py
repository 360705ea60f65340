"""The decision about one job: a pure function of policy, job and time, with every step of its reasoning.

1. A `[[deny]]` rule that fits refuses the job.
2. Else an `[[allow]]` rule that fits lets it run.
3. Else it is refused.

The order of rules in the file never matters: one more `[[allow]]` can only let more run, one more `[[deny]]` only less.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from easyalert.policy.asked import Asked
from easyalert.policy.rules import Finding, Policy, Rule


@dataclass(frozen=True)
class RuleVerdict:
    """What one rule says about the job."""

    rule: Rule
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        """All conditions do."""
        return all(finding.fits for finding in self.findings)

    @property
    def obstacle(self) -> Finding | None:
        """The first condition that does not."""
        return next((finding for finding in self.findings if not finding.fits), None)


@dataclass(frozen=True)
class Decision:
    """Whether the job may run, by which rule, and what every rule says. `dry_run`: nothing runs even so."""

    allowed: bool
    rule: Rule | None
    """The rule that decided; None: none fits, so the job is refused."""
    dry_run: bool
    verdicts: tuple[RuleVerdict, ...]
    """Deny rules first, in the file's order."""

    @property
    def sentence(self) -> str:
        """Why, without the file's name: `no [[allow]] rule fits; the nearest, 'web', fails at hours: …`."""
        if self.rule is not None and self.allowed:
            return f"allowed by {self.rule.title}"
        if self.rule is not None:
            return f"{self.rule.title} fits" + (f" ({self.rule.reason})" if self.rule.reason else "")
        near = self.nearest
        if near is None or near.obstacle is None:
            return "no [[allow]] rule names the action"
        return f"no [[allow]] rule fits; the nearest, '{near.rule.name}', fails at {near.obstacle.condition}"

    @property
    def nearest(self) -> RuleVerdict | None:
        """The allow rule that names the action and of whose conditions the fewest fail."""
        able = [v for v in self.verdicts if v.rule.effect == "allow" and v.findings[0].fits]
        return min(able, key=lambda verdict: sum(not finding.fits for finding in verdict.findings), default=None)


def decide(policy: Policy, asked: Asked, at: datetime) -> Decision:
    """`at` is an aware time."""
    verdicts = tuple(RuleVerdict(rule, tuple(rule.findings(asked, at))) for rule in (*policy.deny, *policy.allow))
    fitting = next((verdict.rule for verdict in verdicts if verdict.fits), None)
    return Decision(
        allowed=fitting is not None and fitting.effect == "allow",
        rule=fitting,
        dry_run=policy.dry_run,
        verdicts=verdicts,
    )
