"""The poller: the agent's one process that talks to the control plane about jobs.

Control plane → journal → Redis queue, and journal's outbox → control plane. Belongs here: registration, polling,
intake, acknowledgement, keeping the queue equal to the journal, reporting. May import `easyalert` only. Never comes
in: a credential other than the API key, an executor, parameters in clear anywhere but on their way into a sealed box:
this process parses foreign input.

One behaviour, one file, one loop; `program.py` ties them together and says in which order they stop.
"""
