"""Numbers both sides of the wire agree on (contract 2.3, 2.4, 2.7)."""

from typing import Final

JOB_TIMEOUT_DEFAULT_S: Final = 300
JOB_TIMEOUT_MIN_S: Final = 5
JOB_TIMEOUT_MAX_S: Final = 3600
JOB_PARAMS_MAX_CHARS: Final = 10_485_760
OUTPUT_STREAM_MAX_CHARS: Final = 1_048_576
OUTPUT_REQUEST_MAX_BYTES: Final = 262_144
"""Live output in one request (feature output), before base64."""
OUTPUT_CHUNK_MAX_BYTES: Final = 65_536
ERROR_MAX_CHARS: Final = 500
MAX_CONCURRENT_JOBS_MAX: Final = 50
REQUESTED_BY_MAX_CHARS: Final = 200
"""Of the name under which a job was asked for."""
OFFLINE_AFTER_S: Final = 90
"""An agent is offline when its last heartbeat is this old (contract 7.1)."""
START_WITHIN_DEFAULT_S: Final = 900
"""A job not started within this time of its creation is expired, not started late."""


def job_timeout_seconds(value: object) -> int:
    """The job's time limit, whole seconds: numeric strings accepted, clamped to 5…3600, else 300 (contract 2.4)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return JOB_TIMEOUT_DEFAULT_S
    try:
        seconds = int(float(value))
    except (ValueError, OverflowError):  # not a number, NaN, infinity
        return JOB_TIMEOUT_DEFAULT_S
    return max(JOB_TIMEOUT_MIN_S, min(JOB_TIMEOUT_MAX_S, seconds))
