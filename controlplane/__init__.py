"""The server: hands out jobs to agents, takes their results, answers operators.

`api/` speaks HTTP and nothing else, `services/` holds the rules and the transactions, `models/` the tables; each layer
imports only those below it. From `easyalert` it shares the wire models, the error tree, logging and redaction. What
runs on a customer's machine (vault, workers, queues) must never be imported here.

Times inside are seconds since the epoch, UTC, as `float`, from one injected clock; only the edge writes RFC 3339.
"""
