import io
import json

import pytest

from cli.job_file import JobUnreadable, read_job


def test_a_job(tmp_path):
    file = tmp_path / "job.json"
    file.write_text(
        json.dumps({"actionType": "script.bash", "connectionId": "c", "params": {"script": "ü"}, "poolId": "p"})
    )
    assert read_job(str(file)) == {
        "actionType": "script.bash",
        "connectionId": "c",
        "params": {"script": "ü"},
        "poolId": "p",
    }
    file.write_text('{"actionType": "connection.test", "params": null}')
    assert read_job(str(file))["params"] == {}


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"actionType": "a.b"}')))
    assert read_job("-") == {"actionType": "a.b", "params": {}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "is no job"),
        (b'"x"', "is no job"),
        (b"{}", "is no job"),
        (b'{"actionType": 5}', "is no job"),
        (b'{"actionType": "a.b", "params": [1]}', "params must be an object"),
        (b'{"actionType": "a.b", "connectionId": 5}', "connectionId must be a text"),
        (b'{"actionType": "a.b", "actionType": "c.d"}', "stands twice"),
    ],
)
def test_what_is_no_job_is_said_in_one_line(tmp_path, content, says):
    file = tmp_path / "job.json"
    file.write_bytes(content)
    with pytest.raises(JobUnreadable) as caught:
        read_job(str(file))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(JobUnreadable, match="cannot be read"):
        read_job(str(tmp_path / "no"))
