import os
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from admin.token import admin_token
from easyalert.settings import AgentSettings


@pytest.fixture
def settings(tmp_path):
    def make(**values):
        required = {
            "agent_api_url": "https://x.example",
            "agent_api_key": "ea_agent_k",
            "state_dir": str(tmp_path / "state"),
        }
        return AgentSettings(_env_file=None, **(required | values))

    return make


def test_a_set_token_is_used_and_nothing_is_written(settings, tmp_path):
    assert admin_token(settings(admin_token="  a-token-of-the-operators-own  ")) == "a-token-of-the-operators-own"
    assert not (tmp_path / "state").exists()


def test_a_short_one_is_used_with_a_warning_that_does_not_show_it(settings, caplog):
    assert admin_token(settings(admin_token="hunter2")) == "hunter2"
    assert "guessed" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("blank", [None, "", "   "])
def test_otherwise_it_is_made_once_43_characters_for_the_owner_only(settings, blank):
    chosen = settings(admin_token=blank)
    former = os.umask(0)
    try:
        token = admin_token(chosen)
    finally:
        os.umask(former)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert chosen.admin_token_path.read_text() == token
    assert stat.S_IMODE(chosen.admin_token_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(chosen.state_dir.stat().st_mode) == 0o700
    assert admin_token(chosen) == token
    assert [p.name for p in chosen.state_dir.iterdir()] == ["admin_token"]


def test_all_who_start_at_once_agree(settings):
    chosen = settings()
    together = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: (together.wait(10), admin_token(chosen))[1], range(8)))
    assert len(set(tokens)) == 1
    assert tokens[0] == chosen.admin_token_path.read_text()


def test_a_file_with_a_newline_of_the_vendors_or_a_person_works(settings):
    chosen = settings()
    chosen.state_dir.mkdir()
    chosen.admin_token_path.write_text("token-of-a-former-installation\n")
    chosen.admin_token_path.chmod(0o600)
    assert admin_token(chosen) == "token-of-a-former-installation"


def test_an_open_file_is_closed_with_a_warning(settings, caplog):
    chosen = settings()
    token = admin_token(chosen)
    chosen.admin_token_path.chmod(0o644)
    assert admin_token(chosen) == token
    assert stat.S_IMODE(chosen.admin_token_path.stat().st_mode) == 0o600
    assert "open to others" in caplog.text


@pytest.mark.parametrize("kind", ["link", "folder", "empty", "short", "binary", "fifo"])
def test_a_file_that_cannot_be_trusted_is_left_alone_and_named(settings, tmp_path, caplog, kind):
    chosen = settings()
    chosen.state_dir.mkdir()
    path = chosen.admin_token_path
    other = tmp_path / "other"
    other.write_text("a-token-somebody-else-put-there")
    {
        "link": lambda: path.symlink_to(other),
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "empty": path.touch,
        "short": lambda: path.write_text("short"),
        "binary": lambda: path.write_bytes(b"\xff" * 40),
    }[kind]()
    before = path.lstat()
    token = admin_token(chosen)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert (path.lstat().st_ino, path.lstat().st_size) == (before.st_ino, before.st_size)
    assert str(path) in caplog.text
    assert token not in caplog.text


def test_where_none_can_be_kept_there_is_one_for_this_run(settings, tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the folder should be")
    first, second = admin_token(settings()), admin_token(settings())
    assert first != second
    assert "ADMIN_TOKEN" in caplog.text
