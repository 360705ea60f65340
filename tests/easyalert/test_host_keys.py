"""The pinned SSH host keys (defect D8)."""

from __future__ import annotations

import base64
import os

import pytest

from easyalert.errors import AgentFault
from easyalert.host_keys import AgentHostKeys, HostKey, NoHostKeys, PinnedHostKeys, host_name, split_host
from tests.support.require import missing


def key(number):
    raw = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32
    return HostKey("ssh-ed25519", base64.b64encode(raw).decode())


@pytest.fixture
def pins(tmp_path):
    return PinnedHostKeys(tmp_path / "known_hosts")


def test_what_is_pinned_stays_pinned(pins):
    assert pins.of("web-1", 22) == []
    assert pins.pin("Web-1", 22, [key(1), key(2), key(1)]) == [key(1), key(2)]
    assert pins.pin("web-1", 22, [key(3)]) == [key(1), key(2)]
    assert PinnedHostKeys(pins.path).of("WEB-1", 22) == [key(1), key(2)]
    assert pins.of("web-1", 2222) == []
    assert pins.path.read_text() == f"web-1 {key(1)}\nweb-1 {key(2)}\n"
    assert pins.path.stat().st_mode & 0o777 == 0o600


def test_replacing_and_forgetting_touch_one_host(pins):
    pins.pin("web-1", 22, [key(1)])
    pins.pin("web-1", 2222, [key(2)])
    assert pins.replace("web-1", 22, [key(3)]) == [key(1)]
    assert (pins.of("web-1", 22), pins.of("web-1", 2222)) == ([key(3)], [key(2)])
    assert pins.replace("web-1", 22, []) == [key(3)]
    assert pins.path.read_text() == f"[web-1]:2222 {key(2)}\n"


def test_lines_of_others_are_kept_and_count_for_nothing(pins):
    theirs = f"# a note\n\n@cert-authority * {key(1)}\n*.test {key(1)}\n|1|abc=|def= {key(1)}\nweb-1\nweb-1 nonsense\n"
    pins.path.write_text(theirs)
    assert pins.of("web-1", 22) == []
    assert pins.of("*.test", 22) == []
    pins.pin("web-1", 22, [key(2)])
    assert pins.path.read_text() == f"{theirs}web-1 {key(2)}\n"


def test_what_cannot_be_read_pins_nothing(pins):
    pins.path.mkdir()
    with pytest.raises(AgentFault, match="cannot be read"):
        pins.of("web-1", 22)
    pins.path.rmdir()
    pins.path.write_bytes(b"\xff\xfe")
    with pytest.raises(AgentFault, match="no text"):
        pins.pin("web-1", 22, [key(1)])
    assert pins.path.read_bytes() == b"\xff\xfe"


def test_who_pins_on_first_use_is_told_once(tmp_path):
    told = []
    keys = AgentHostKeys(tmp_path / "known_hosts", "tofu", lambda *what: told.append(what))
    keys.pin("web-1", 22, [key(1)])
    keys.pin("web-1", 22, [key(1)])
    keys.pin("web-1", 22, [key(2)])
    assert told == [("web-1", [key(1)])]


def test_a_file_made_by_root_belongs_to_the_folders_account(pins):
    if os.geteuid() != 0:
        missing("only root can write for somebody else")
    os.chown(pins.path.parent, 54_321, 54_321)
    pins.pin("web-1", 22, [key(1)])
    assert (pins.path.stat().st_uid, pins.path.stat().st_gid) == (54_321, 54_321)


def test_without_a_place_nothing_is_pinned():
    assert NoHostKeys().of("web-1", 22) == []
    with pytest.raises(AgentFault):
        NoHostKeys().pin("web-1", 22, [key(1)])


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa " + key(1).data, "ssh-ed25519 AAAA"])
def test_what_is_no_key(text):
    with pytest.raises(ValueError, match="not a host key"):
        HostKey.read(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("web-1", "web-1", None), ("web-1:22", "web-1", 22), ("[fd00::1]:22", "fd00::1", 22), ("fd00::1", "fd00::1", None),
        (" [fd00::1] ", "fd00::1", None), ("web-1:x", "web-1:x", None), (":22", ":22", None), ("web-1:²", "web-1:²", None),
    ],
)  # fmt: skip
def test_host_and_port(text, host, port):
    assert split_host(text) == (host, port)


def test_names_are_those_of_openssh():
    assert (host_name("Web-1", 22), host_name("web-1", 2222), host_name("fd00::1", 22)) == (
        "web-1",
        "[web-1]:2222",
        "fd00::1",
    )
