"""The lines that are sent, and the words they say for us."""

from __future__ import annotations

import subprocess

import pytest

from workers.sdk.ssh_lines import Line, Prologue, Sudo, command_line, ending_line, script_line

LINE = Line("x", ready=b"ready-1234\n", prompt=b"password-1234:")


def said(*pieces, line=LINE):
    seen = []
    prologue = Prologue(line, seen.append, asked=lambda: seen.append("?"), ready=lambda: seen.append("!"))
    for piece in pieces:
        prologue.feed(piece)
    prologue.finish()
    joined = []
    for item in seen:
        if isinstance(item, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += item
        elif item:
            joined.append(item)
    return joined, prologue


WHOLE = b"a lecture\npassword-1234:\nwarn\nready-1234\nown ready-1234\n password-1234:"


@pytest.mark.parametrize("size", range(1, len(WHOLE) + 1))
def test_the_words_are_taken_out_however_they_are_cut(size):
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    found, prologue = said(*pieces)
    assert found == [b"a lecture\n", "?", b"\nwarn\n", "!", b"own ready-1234\n password-1234:"]
    assert prologue.over
    assert prologue.said == b"a lecture\n\nwarn\n"


def test_what_only_begins_like_a_word_comes_through():
    found, prologue = said(b"pass", b"word-12", b" no", b"ready-123")
    assert found == [b"password-12 noready-123"]
    assert not prologue.over


def test_a_plain_command_is_sent_as_it_is_and_nothing_is_taken_out():
    line = command_line("echo 'it' && exit", None)
    assert line.text == "echo 'it' && exit"
    assert said(WHOLE, line=line)[0] == [WHOLE]


@pytest.mark.parametrize("sudo", [None, Sudo("root", "sudo-secret"), Sudo("root", None)])
def test_no_password_is_in_any_line(sudo):
    for line in (command_line("true", sudo), script_line(b"true", "/bin/sh", sudo), ending_line(1, "", sudo)):
        assert "sudo-secret" not in line.text
        assert "sudo-secret" not in repr(line)
        assert "sudo-secret" not in repr(sudo)


def test_quotes_and_line_breaks_in_a_command_survive():
    """Through the account's shell and ours, as sudo would be given it."""
    command = "printf '%s|' \"a b\" '$x' `echo c`\nprintf 'd\\\\e'"
    line = command_line(command, Sudo("root", None))
    without = line.text.replace("sudo -n -u root -- ", "")
    ran = subprocess.run(["/bin/sh", "-c", without], capture_output=True, check=True, text=True)
    assert ran.stdout == "a b|$x|c|d\\e"
    assert ran.stderr.encode() == line.ready


@pytest.mark.parametrize("cut", [0, 5, 19])
def test_a_script_that_did_not_arrive_whole_is_not_run(cut):
    """Defect C15, and worse: half a script."""
    script = b"echo this has been run\n"
    line = script_line(script, "/bin/sh", None)
    ran = subprocess.run(["/bin/sh", "-c", line.text], input=script[:cut], capture_output=True, check=False)
    assert ran.returncode != 0
    assert b"run" not in ran.stdout
    ran = subprocess.run(["/bin/sh", "-c", line.text], input=script, capture_output=True, check=False)
    assert ran.stdout == b"this has been run\n"


def test_names_of_folders_are_never_the_same():
    assert len({script_line(b"", "/bin/sh", None).folder for _ in range(50)}) == 50


def test_the_ending_touches_nothing_where_its_parent_is_no_ssh_server():
    """A server of many connections in one process: its children may be anybody's."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        ran = subprocess.run(["/bin/sh", "-c", ending_line(0.1, "", None).text], check=False)
        assert ran.returncode == 3
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
