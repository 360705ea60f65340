import pytest

from controlplane.__main__ import main, parser
from controlplane.cli import exits


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["serve", "--help"],
        ["token", "create", "--help"],
        ["agents", "create", "--help"],
    ],
)
def test_help_says_how_and_which_exit_codes(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes" in out
    assert "--data-dir" in out or arguments == ["--help"]


@pytest.mark.parametrize(
    "arguments", [[], ["token"], ["token", "create"], ["token", "create", "--scope", "root"], ["x"]]
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == exits.USAGE
    assert "usage:" in capsys.readouterr().err


def test_wrong_settings_are_named(monkeypatch, capsys):
    monkeypatch.setenv("EASYALERT_CP_PORT", "many")
    assert main(["serve"]) == exits.USAGE
    assert "setting PORT" in capsys.readouterr().err


def test_a_damaged_database_is_a_sentence(tmp_path, capsys):
    (tmp_path / "controlplane.sqlite3").write_bytes(
        b"this is no database, but it is long enough to be read as one " * 50
    )
    assert main(["token", "create", "--scope", "viewer", "--data-dir", str(tmp_path)]) == exits.STORAGE
    err = capsys.readouterr().err
    assert "restore it from a backup" in err
    assert "Traceback" not in err


def test_version(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["--version"])
    assert "easyalert-controlplane" in capsys.readouterr().out
