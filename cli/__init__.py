"""The operator's command, `easyalert-agent`: run, status, jobs, dashboard.

Belongs here: what a person types, the checks before a start, and the launchers of supervisord and the embedded Redis.
Imports `easyalert` and `vault`. Never comes in: a loop of the agent, anything that talks to the control plane.
"""
