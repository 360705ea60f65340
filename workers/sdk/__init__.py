"""The kit executors are built from: base class, actions, parameters, the Context, results, bounded output, harness.

May import `easyalert.errors`, `.host_keys`, `.host_key_scan`, `.kubeconfig`, `.netguard`, `.protocol`, `.redact`,
`.ssh_library`.
Never comes in: the vault, Redis, RQ, settings — what an executor may have reaches it through the Context.
"""

from workers.sdk.connection import Connection, SecretText, read_connection
from workers.sdk.context import Context
from workers.sdk.executor import ActionSpec, Executor, Parameters, action
from workers.sdk.output import BoundedOutput
from workers.sdk.result import ExecutorResult, envelope, failure, success

__all__ = [
    "ActionSpec",
    "BoundedOutput",
    "Connection",
    "Context",
    "Executor",
    "ExecutorResult",
    "Parameters",
    "SecretText",
    "action",
    "envelope",
    "failure",
    "read_connection",
    "success",
]
