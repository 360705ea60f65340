"""`agents create --key-file`: how containers and provisioning get a key without anybody seeing it."""

from __future__ import annotations

import json

import pytest

from controlplane.__main__ import main


@pytest.fixture
def create(tmp_path, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["agents", "create", *arguments, "--data-dir", str(tmp_path / "data")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_key_goes_to_the_file_and_nowhere_else(create, tmp_path):
    file = tmp_path / "key"
    code, out, err = create("web", "--key-file", str(file), "--json")
    key = file.read_text()
    assert code == 0
    assert key.startswith("ea_agent_")
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in out + err
    assert json.loads(out)["keyFile"] == str(file)


def test_the_second_time_nothing_is_made(create, tmp_path):
    create("web", "--key-file", str(tmp_path / "key"))
    key = (tmp_path / "key").read_text()
    code, out, _ = create("web", "--key-file", str(tmp_path / "key"))
    assert (code, (tmp_path / "key").read_text()) == (0, key)
    assert "nothing was made" in out


def test_no_agent_is_left_behind_when_the_file_cannot_be_written(create, tmp_path):
    code, _, err = create("web", "--key-file", str(tmp_path / "missing" / "key"))
    assert code == 1
    assert "Traceback" not in err
    assert create("web", "--key-file", str(tmp_path / "key"))[0] == 0
