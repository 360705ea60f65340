import pytest
from pydantic import ValidationError

from controlplane.api import requests


def test_until_is_seconds_since_the_epoch_whatever_its_zone():
    body = requests.BlockAgent.model_validate({"until": "2027-01-15T09:00:00+01:00"})
    assert body.until_seconds() == 1_800_000_000
    assert requests.BlockAgent().until_seconds() is None


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (requests.CreateAgent, {"name": "a\u202eb\n"}),
        (requests.CreateAgent, {"name": "x", "description": "a\x00b"}),
        (requests.CreateAgent, {"name": "x", "tags": [" "]}),
        (requests.BlockAgent, {"reason": "\ud800"}),
        (requests.CreateJob, {"actionType": "a.b", "timeout": float("nan")}),
        (requests.CreateJob, {"actionType": "a.b", "idempotencyKey": "a\nb"}),
        (requests.SettleJob, {"status": "in_doubt", "note": "x"}),
        (requests.SettleJob, {"status": "success", "note": ""}),
        (requests.PoolSettings, {"lostAfterSeconds": 1}),
    ],
)
def test_what_cannot_be_stored_or_meant_is_refused(model, body):
    with pytest.raises(ValidationError):
        model.model_validate(body)


def test_a_change_names_only_what_was_given():
    assert requests.ChangeAgent.model_validate({"poolId": "eu"}).model_dump(exclude_unset=True) == {"pool_id": "eu"}
