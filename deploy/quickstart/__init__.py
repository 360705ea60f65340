"""`scripts/up` and `scripts/down`: a control plane and one agent on this machine, a sample job, live status.

`__main__` reads the arguments; `up` and `down` are the two commands; `home` is the folder everything is kept in,
`record` says what was started, `program` starts and stops processes, `operator` speaks the operators' HTTP interface,
`first_start` makes token, pool, agent and key, `sample` sends the job, `report` draws tables and the status line.
"""
