"""The vocabulary every process of the agent shares; it knows no process.

Belongs here: wire models (`protocol`), the error tree, settings, the job journal, every Redis name (`queues`), sealing,
the one HTTP client to the control plane, the judge of network addresses (`netguard`), redaction, logging, the process
runtime. Imports third parties only, never a room (`poller`, `workers`, `vault`, …). Never comes in: an executor, a
credential, a loop of its own.
"""


def __getattr__(name: str) -> str:
    # looked up when asked for: the launchers of supervisord and Redis live without importlib.metadata
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - as above

    try:
        found = version("easyalert-agents")
    except PackageNotFoundError:  # a source tree that was never installed
        found = "0.0.0"
    globals()[name] = found
    return found
