"""The guard against server-side request forgery: every URL and host that a job or a user names passes here.

Three steps, each of its own: `target` reads a URL strictly, `resolver` looks a name up once, `judge` says about each
address whether this agent may dial it. `transport` is an httpx client that dials judged addresses only; it is not
imported here because httpx is heavy. Belongs here: rules about addresses. Never comes in: what a job does with them.
"""

from easyalert.netguard.judge import NetworkPolicy, judge_address
from easyalert.netguard.resolver import Resolver, SystemResolver, resolve_and_judge
from easyalert.netguard.target import Target, check_host, parse_target

__all__ = [
    "NetworkPolicy",
    "Resolver",
    "SystemResolver",
    "Target",
    "check_host",
    "judge_address",
    "parse_target",
    "resolve_and_judge",
]
