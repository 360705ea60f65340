"""Files of the owner: who may have written them, and that every change is noticed."""

import os
import time
from pathlib import Path

import pytest

from easyalert.errors import PolicyUnusable
from easyalert.policy.owned import SIZE_MAX, Owned


def text_of(content: bytes, path: Path) -> str:
    if content == b"broken":
        raise PolicyUnusable(f"{path}: broken")
    return content.decode()


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    path = folder / "policy.toml"
    path.write_text("one")
    path.chmod(0o644)
    return path


@pytest.fixture
def owned(file):
    return Owned(file, text_of, required=False)


def old(path, seconds=10.0):
    """As if it had been written some time ago."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def problem(owned):
    with pytest.raises(PolicyUnusable) as caught:
        owned.current()
    return str(caught.value)


def test_what_it_says_and_its_digest(owned):
    assert owned.current() == "one"
    assert owned.digest.startswith("7692c3ad3540")


def test_absent_it_is_nothing_or_a_problem(file):
    file.unlink()
    assert Owned(file, text_of, required=False).current() is None
    assert "does not exist" in problem(Owned(file, text_of, required=True))
    assert "does not exist" in problem(Owned(file.parent / "no" / "file", text_of, required=True))


def test_every_change_is_noticed_at_once(file, owned):
    for number in range(50):  # many within one tick of the file system's clock, all of one length
        file.write_text(f"{number:03}")
        assert owned.current() == f"{number:03}"
    other = file.with_name("new")
    other.write_text("abc")
    other.replace(file)
    assert owned.current() == "abc"
    file.write_text("broken")
    assert "broken" in problem(owned)
    file.write_text("def")
    assert owned.current() == "def"
    file.unlink()
    assert owned.current() is None


def test_a_change_that_keeps_size_and_times_is_noticed_by_the_inodes_own(file, monkeypatch):
    stamp = file.stat()
    owned = Owned(file, text_of, required=False)
    # long ago, as far as the reader can tell: what it keeps now counts as settled
    monkeypatch.setattr(time, "time", lambda: stamp.st_mtime + 1000)
    assert owned.current() == "one"
    file.write_text("two")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert owned.current() == "two"


def test_a_file_written_a_moment_ago_is_not_believed_to_be_unchanged(file, owned, monkeypatch):
    # as on a file system whose clock has not ticked between two changes
    monkeypatch.setattr("easyalert.policy.owned._identity", lambda _found: (1, 2, 3))
    assert owned.current() == "one"
    file.write_text("two")
    assert owned.current() == "two"


def test_unchanged_it_is_not_read_again(file, monkeypatch):
    reads = []
    owned = Owned(file, lambda content, _path: reads.append(content), required=False)
    monkeypatch.setattr(time, "time", lambda: file.stat().st_mtime + 1000)
    for _ in range(5):
        owned.current()
    assert len(reads) == 1


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o622])
def test_writable_by_others_it_does_not_count(file, owned, mode):
    file.chmod(mode)
    sentence = problem(owned)
    assert "can be written by others" in sentence
    assert f"chmod go-w {file}" in sentence
    file.chmod(0o644)
    assert owned.current() == "one"


def test_a_folder_in_which_others_may_replace_it_does_not_count(file, owned):
    file.parent.chmod(0o777)
    assert "chmod go-w" in problem(owned)
    file.parent.chmod(0o1777)
    assert owned.current() == "one", "in a sticky folder nobody else can"
    file.parent.chmod(0o755)
    real = file.parent / "open"
    real.mkdir()
    real.chmod(0o777)
    (real / "p").write_text("theirs")
    file.unlink()
    file.symlink_to(real / "p")
    assert str(real) in problem(owned), "the folder a link leads into counts too"


def test_every_folder_above_it_counts(tmp_path):
    above = tmp_path / "above"
    path = above / "etc" / "policy.toml"
    path.parent.mkdir(parents=True, mode=0o755)
    path.write_text("one")
    path.chmod(0o644)
    above.chmod(0o777)
    assert f"{above} can be written by others" in problem(Owned(path, text_of, required=False))
    link = tmp_path / "link"
    link.symlink_to(path)
    assert str(above) in problem(Owned(link, text_of, required=False)), "those a link leads through too"
    above.chmod(0o755)
    assert Owned(link, text_of, required=False).current() == "one"


def test_a_link_to_nothing_is_a_problem_and_not_the_absence_of_a_policy(file, owned):
    file.unlink()
    file.symlink_to(file.parent / "not-mounted-yet")
    assert "is a link to a file that does not exist" in problem(owned)


def test_what_stands_in_its_place_costs_no_descriptor(file, owned):
    file.unlink()
    file.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        problem(owned)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_time_of_change_set_ahead_does_not_make_it_settled(file, owned, monkeypatch):
    monkeypatch.setattr("easyalert.policy.owned._identity", lambda _found: (1, 2, 3))
    old(file, -3600)
    assert owned.current() == "one"
    file.write_text("two")
    old(file, -3600)
    assert owned.current() == "two"


def test_another_accounts_file_does_not_count(file):
    stranger = file.stat().st_uid + 1
    if file.stat().st_uid == 0:
        os.chown(file, 4242, -1)
        assert "belongs to another account (uid 4242): chown root" in problem(Owned(file, text_of, required=False))
        assert Owned(file, text_of, required=False, account=4242).current() == "one"
    else:
        assert "belongs to another account" in problem(Owned(file, text_of, required=False, account=stranger))


def test_what_is_no_readable_file(tmp_path):
    folder = tmp_path / "policy.toml"
    folder.mkdir()
    assert "policy.toml" in problem(Owned(folder, text_of, required=False))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in problem(Owned(pipe, text_of, required=False))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be read" in problem(Owned(loop, text_of, required=False))
    large = tmp_path / "large"
    large.write_bytes(b"x" * (SIZE_MAX + 1))
    large.chmod(0o600)
    assert "larger than" in problem(Owned(large, text_of, required=False))
