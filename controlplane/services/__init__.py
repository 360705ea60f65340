"""The rules of the control plane, as plain functions over a session, a time and their arguments.

A service opens no transaction and knows no HTTP: whoever calls it passes the session of `Database.read` or
`Database.write` and the time of the clock. It raises `services.errors`; it says what changed through
`services.changes`.
"""
