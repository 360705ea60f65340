"""Names of the protocol extensions a control plane may offer in its answer to registration."""

from typing import Final

LONG_POLL: Final = "longPoll"
"""`GET …/jobs?agentId=&wait=25&slots=3` is answered as soon as there is a job."""
ACK: Final = "ack"
"""Jobs carry `attempt` and `leaseSeconds`; `POST …/jobs/ack` is the permit to start; heartbeats renew `runningJobs`."""
RECEIPTS: Final = "receipts"
"""Results carry `attempt`; the answer tells each result's fate."""
CANCEL: Final = "cancel"
"""`GET …/jobs?agentId=&wait=25&slots=0` hands out nothing and is answered as soon as a held job is to be cancelled; the
answer to a heartbeat says it too, until the job's result is there."""
OUTPUT: Final = "output"
"""`POST …/jobs/{id}/output` takes what a running job prints; the answer says what to send next."""
CONTROL: Final = "control"
"""The answer to a heartbeat may say `disabled`, `drain`, `pollIntervalSeconds`; a heartbeat may say `paused`."""
INSTANCE: Final = "instance"
"""Registration and, from then on, every request (header `X-Agent-Instance`) name the running agent; a second one on the
same key gets 409 with code `key_in_use` instead of jobs and permits while the first is alive."""
SEALED: Final = "sealed"
"""`params`, or the credentials of `system.storeCredential`, may be sealed to the `publicKey` of the registration, which
the control plane hands on untouched (`easyalert.protocol.sealed`)."""
SIGNED: Final = "signed"
"""Jobs may carry `signature`, made by a key the agent's owner trusts; the control plane only hands it on."""
