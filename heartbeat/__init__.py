"""The process that tells the control plane how the agent is: `python -I -m heartbeat`.

Belongs here: the beat's loop, the figures of the workers (read from the journal), the host's metrics, the state of the
agent's components. Imports `easyalert` only; holds no credential but the API key. Never comes in: taking jobs,
delivering results, writing anything but its own note.
"""
