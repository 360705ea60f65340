"""One file per kind of action; the module's name is the kind (`script`, `http`, …), its class says what it can do.

An executor gets a `workers.sdk.Context` and nothing else: no Redis, no RQ, no vault, no settings, no client, no other
executor. Heavy libraries are imported by the executor's module, which is imported when the first job of its kind runs.
Third parties add a kind through the entry-point group `easyalert.executors`.
"""
