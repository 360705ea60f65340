"""The loopback admin API: credentials, status and rekey, for people on this machine and for `easyalert-agent`.

Belongs here: one process, FastAPI on 127.0.0.1, and the guard before it. It imports `easyalert` and `vault`, no other
room. Never comes in: a route that answers with a secret value, an address other than loopback, a check that a route
has to remember by itself. It starts before registration and works while the control plane is away.
"""
