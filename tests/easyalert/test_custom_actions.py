from __future__ import annotations

import os

import pytest

from easyalert.custom_actions import custom_action, custom_actions
from easyalert.errors import AgentFault, UnknownAction


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "actions"
    made.mkdir(mode=0o755)
    for name, mode in (("purge", 0o755), ("text", 0o644), ("read.me", 0o755), ("purge.toml", 0o644)):
        (made / name).write_text("")
        (made / name).chmod(mode)
    return made


def test_executables_are_actions_and_the_rest_has_its_reason(folder):
    usable, problems = custom_actions(folder)
    assert [found.name for found in usable] == ["purge"]
    assert list(problems) == ["text"]
    assert "cannot be executed" in problems["text"]


def test_what_a_manifest_does_not_say_is_the_careful_answer(folder):
    manifest = custom_action(folder, "purge").manifest
    assert (manifest.idempotent, manifest.needs_credential, manifest.isolated) == (False, False, True)
    assert manifest.parameters is None


def test_without_a_folder_there_are_none():
    assert custom_actions(None) == ([], {})
    with pytest.raises(UnknownAction, match="CUSTOM_ACTIONS_DIR"):
        custom_action(None, "purge")


def test_a_folder_that_is_not_there_is_said(folder):
    with pytest.raises(AgentFault, match="No such file"):
        custom_actions(folder / "gone")


@pytest.mark.parametrize("kind", ["pipe", "loop"])
def test_what_is_no_program_is_not_waited_for(folder, kind):
    if kind == "pipe":
        os.mkfifo(folder / "odd", 0o755)
    else:
        (folder / "odd").symlink_to(folder / "odd")
    with pytest.raises(AgentFault, match=r"custom\.odd was not run"):
        custom_action(folder, "odd")


def test_a_link_within_the_folder_is_another_name(folder):
    (folder / "clean").symlink_to("purge")
    assert custom_action(folder, "clean").program == folder / "clean"


def test_a_folder_on_the_way_that_others_can_write_spoils_it(folder, tmp_path):
    (folder / "purge.toml").unlink()  # the way to a manifest is looked at too
    tmp_path.chmod(0o777)
    with pytest.raises(AgentFault, match="can be written by others"):
        custom_action(folder, "purge")
