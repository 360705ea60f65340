"""Wire version 1: the contract's own examples and one of every extension, parsed and written; fields only ever added."""

import inspect
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from easyalert.protocol import messages
from easyalert.protocol.messages import (
    HeartbeatRequest,
    JobEnvelope,
    Message,
    RegisterData,
    RegisterRequest,
    ResultEnvelope,
    SystemMetrics,
)

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))
RECORD = Path(__file__).parent / "samples" / "recorded" / "fields.json"
MODELS = {
    name: member for name, member in vars(messages).items() if inspect.isclass(member) and issubclass(member, Message)
}


def model_of(sample):
    words = sample.stem.split("_")
    for length in range(len(words), 0, -1):
        name = "".join(word.capitalize() for word in words[:length])
        if name in MODELS:
            return MODELS[name]
    raise AssertionError(f"{sample.name} belongs to no model")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_recorded_samples_are_understood_and_written_the_same(sample):
    document = json.loads(sample.read_text("utf-8"))
    written = model_of(sample).model_validate(document).wire()
    base = {"connectionId": None} if "special" in sample.stem else {}
    assert written == {**document, **base}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_fields_of_later_versions_are_ignored(sample):
    document = json.loads(sample.read_text("utf-8"))
    model = model_of(sample)
    assert model.model_validate({**document, "fromTheFuture": {"a": [1]}}) == model.model_validate(document)


def test_every_top_level_message_has_a_sample():
    covered = {model_of(sample).__name__ for sample in SAMPLES}
    nested = {
        "Message",
        "AckItem",
        "Block",
        "AckRefusal",
        "Timings",
        "Receipt",
        "SystemMetrics",
        "MinuteCount",
        "WorkerFigures",
    }
    nested |= {"OutputChunk", "OutputTotals", "AuditHead", "ScriptIsolation"}
    assert covered | nested >= MODELS.keys()


def fields():
    """Model → wire name → whether it is required and what JSON it is."""
    found = {}
    for name, model in sorted(MODELS.items()):
        schema = model.model_json_schema()
        found[name] = {
            alias: {
                "required": alias in schema.get("required", []),
                "type": json.dumps({k: v for k, v in part.items() if k not in {"title", "default"}}, sort_keys=True),
            }
            for alias, part in schema.get("properties", {}).items()
        }
    return found


def test_nothing_recorded_has_been_renamed_retyped_removed_or_made_required():
    recorded, now = json.loads(RECORD.read_text("utf-8")), fields()
    for name, known in recorded.items():
        for alias, was in known.items():
            assert alias in now[name], f"{name}.{alias} is gone: models are append-only"
            assert now[name][alias]["type"] == was["type"], f"{name}.{alias} has changed its type"
            assert now[name][alias]["required"] <= was["required"], f"{name}.{alias} has become required"
        added = now[name].keys() - known.keys()
        assert not any(now[name][alias]["required"] for alias in added), f"{name}: a new field needs a default"


def test_the_record_is_complete():
    """A new field is recorded in the same change that adds it: write `fields()` to the file."""
    recorded, now = json.loads(RECORD.read_text("utf-8")), fields()
    assert {name: set(known) for name, known in recorded.items()} == {name: set(known) for name, known in now.items()}


# ---- what a plain peer needs ----------------------------------------------------------------------------------------


def test_a_result_always_carries_the_six_fields_of_the_contract():
    assert ResultEnvelope(job_id="a", status="success").wire() == {
        "jobId": "a",
        "status": "success",
        "output": None,
        "error": None,
        "exitCode": 0,
        "durationMs": 0,
    }


def test_a_job_always_carries_its_parameters_as_an_object():
    wire = JobEnvelope(job_id="a", action_type="script.bash").wire()
    assert wire == {"jobId": "a", "actionType": "script.bash", "connectionId": None, "params": {}}


def test_extension_fields_are_sent_only_when_set():
    wire = RegisterRequest(hostname="h", agent_name="n", version="1", platform="Linux", architecture="x").wire()
    assert len(wire) == 5
    beat = HeartbeatRequest(
        agent_id="a",
        status="online",
        jobs_executed=0,
        jobs_failed=0,
        uptime_seconds=0,
        version="1",
        system_metrics=SystemMetrics(cpu_percent=1.5),
    )
    assert beat.wire()["systemMetrics"] == {"cpuPercent": 1.5}
    assert len(beat.wire()) == 7


def test_a_plain_servers_registration_offers_nothing():
    data = RegisterData.model_validate({"agentId": "agt_7Qm2"})
    assert (data.features, data.long_poll_seconds) == ([], 25)


@pytest.mark.parametrize(
    ("model", "document"),
    [
        (RegisterData, {}),
        (RegisterData, {"agentId": None}),
        (JobEnvelope, {"jobId": "a"}),
        (JobEnvelope, {"jobId": "a", "actionType": "b", "params": None}),
        (JobEnvelope, {"jobId": "a", "actionType": "b", "params": []}),
        (JobEnvelope, {"jobId": "\ud800", "actionType": "b"}),
        (ResultEnvelope, {"jobId": "a", "status": "done"}),
        (HeartbeatRequest, {"agentId": "a", "status": "degraded"}),
    ],
)
def test_what_is_not_the_protocol_is_refused(model, document):
    with pytest.raises(ValidationError):
        model.model_validate(document)


def test_messages_do_not_change_once_made():
    message = RegisterData(agent_id="a")
    with pytest.raises(ValidationError):
        message.agent_id = "b"
