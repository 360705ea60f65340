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
