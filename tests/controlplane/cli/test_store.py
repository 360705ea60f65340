import contextlib

import pytest

from controlplane.cli import exits
from controlplane.cli.store import CommandError, only_server, open_database
from controlplane.models.migrate import at_head
from controlplane.settings import ControlPlaneSettings


def test_opening_makes_the_folder_and_the_tables(tmp_path):
    settings = ControlPlaneSettings(data_dir=tmp_path / "a" / "b")
    with open_database(settings) as database, database.read() as session:
        assert at_head(session)


def test_a_second_start_keeps_everything(tmp_path):
    settings = ControlPlaneSettings(data_dir=tmp_path)
    for _ in range(2):
        with open_database(settings):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "controlplane.migrate.lock",
        "controlplane.sqlite3",
        "secret.key",
    ]


def test_a_folder_that_cannot_be_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(CommandError, match="--data-dir") as caught,
        open_database(ControlPlaneSettings(data_dir=tmp_path / "file")),
    ):
        pass
    assert caught.value.exit_code == exits.STORAGE


def test_one_server_per_folder(tmp_path):
    settings = ControlPlaneSettings(data_dir=tmp_path)
    with contextlib.ExitStack() as first:
        first.enter_context(only_server(settings))
        with pytest.raises(CommandError, match="already serves") as caught, only_server(settings):
            pass
        assert caught.value.exit_code == exits.ALREADY_RUNNING
    with only_server(settings):
        pass
