"""Endpoint paths of the agents' side (contract 1.2). The base URL's own path prefix is kept in front of them."""

from typing import Final

REGISTER: Final = "/api/v1/internal/agents/register"
JOBS: Final = "/api/v1/internal/agents/jobs"
JOBS_ACK: Final = "/api/v1/internal/agents/jobs/ack"
JOB_OUTPUT: Final = "/api/v1/internal/agents/jobs/{job_id}/output"
RESULTS: Final = "/api/v1/internal/agents/results"
HEARTBEAT: Final = "/api/v1/internal/agents/heartbeat"
CONNECTIONS: Final = "/api/v1/internal/agents/connections"
NOTIFY: Final = "/api/v1/internal/agents/notify"
HEALTH: Final = "/api/v1/health/healthz"

API_KEY_HEADER: Final = "X-Agent-Api-Key"
INSTANCE_HEADER: Final = "X-Agent-Instance"
"""The running agent, as `RegisterRequest.instance`; sent where feature instance was negotiated."""
KEY_IN_USE: Final = "key_in_use"
"""`code` of a 409: another running agent holds the key (feature instance)."""
