import pytest

from cli.__main__ import main


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["policy", "--help"], "check"),
        (["policy", "check", "--help"], "Exit codes: 0 the rules let it run; 5 they refuse it"),
        (["sign-job", "--help"], "--key FILE"),
        (["signing-key", "--help"], "prints its public half"),
    ],
)
def test_every_command_explains_itself(capsys, words, says):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    assert says in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words",
    [
        ["policy"],
        ["policy", "check"],
        ["sign-job", "j"],
        ["sign-job", "j", "--key", "k", "--agent", "a", "--pool", "p"],
    ],
)
def test_what_is_missing_is_said(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
