from __future__ import annotations

import pytest

from deploy.quickstart import __main__ as program
from deploy.quickstart.errors import NotPossibleError, QuickstartError


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("EASYALERT_HOME", str(tmp_path))


@pytest.mark.parametrize("port", ["0", "65536", "-1", "eighty", "8080 ", "٨٠"])
def test_a_port_that_is_none_is_refused(capsys, port):
    with pytest.raises(SystemExit) as caught:
        program.main(["up", f"--port={port}"])
    assert caught.value.code == 2
    assert "is no port: use a number from 1 to 65535" in capsys.readouterr().err


def test_the_help_names_exit_codes_and_folder(capsys):
    with pytest.raises(SystemExit) as caught:
        program.main(["up", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in ("scripts/up", "--port", "--detach", "EASYALERT_HOME", "Exit codes"):
        assert part in text


@pytest.mark.parametrize(("error", "code"), [(QuickstartError("it broke"), 1), (NotPossibleError("no room"), 2)])
def test_errors_are_sentences_with_their_exit_code(monkeypatch, capsys, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(program, "up", fail)
    assert program.main(["up"]) == code
    assert capsys.readouterr().err == f"{error}\n"


def test_nothing_to_stop_is_no_error(capsys):
    assert program.main(["down"]) == 0
    assert "Nothing is running" in capsys.readouterr().out
