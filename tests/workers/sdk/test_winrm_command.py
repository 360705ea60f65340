"""How a text gets to PowerShell; the rest of it is shown by the executor's tests."""

from __future__ import annotations

import base64

import pytest

from tests.support.wsman_shells import CMD_MAX_CHARS
from workers.sdk.winrm_command import _signed, command_line


def read(arguments):
    assert arguments[:-1] == ["-NoProfile", "-NonInteractive", "-EncodedCommand"]
    return base64.b64decode(arguments[-1]).decode("utf-16-le")


@pytest.mark.parametrize("text", ["Get-Date", "'a \"b\" `c` $d & | < > ^ %PATH% \r\n \N{GRINNING FACE}'", "x" * 2_000])
def test_a_short_text_is_an_argument_that_no_shell_reads(text):
    arguments, stdin = command_line(text)
    assert read(arguments) == text
    assert stdin == b""
    assert all(char.isalnum() or char in "-+/=" for char in "".join(arguments))


@pytest.mark.parametrize("size", [2_960, 2_990, 3_100, 100_000])
def test_a_long_text_goes_to_standard_input_and_the_line_fits(size):
    text = "ü" * size
    arguments, stdin = command_line(text)
    assert len(" ".join(["powershell.exe", *arguments])) <= CMD_MAX_CHARS
    if stdin:
        assert stdin.isascii()
        assert base64.b64decode(stdin).decode() == text
        assert max(map(len, stdin.split(b"\r\n"))) <= 1_000
        assert "[ScriptBlock]::Create" in read(arguments)
    else:
        assert read(arguments) == text


def test_the_line_between_them():
    assert command_line("x" * 2_900)[1] == b""
    assert command_line("x" * 3_100)[1] != b""


@pytest.mark.parametrize(
    ("code", "signed"),
    [(None, None), (0, 0), (7, 7), (-1, -1), (2**31, -(2**31)), (2**32 - 1, -1), (2**32, None), (-(2**31) - 1, None)],
)
def test_exit_codes_have_32_bits_and_a_sign(code, signed):
    assert _signed(code) == signed
