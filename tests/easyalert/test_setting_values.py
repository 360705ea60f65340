from pathlib import Path

import pytest

from easyalert.setting_values import absolute, key_in, parts_of, url_scheme


def test_parts_are_trimmed_and_empty_ones_left_out():
    assert parts_of(" a, b ,,c ,") == ["a", "b", "c"]
    assert parts_of(" ") == []


def test_a_path_of_nobodys_home_is_named():
    assert absolute(Path("/a/b")) == Path("/a/b")
    assert absolute(Path("a")).is_absolute()
    with pytest.raises(ValueError, match="give the whole path"):
        absolute(Path("~no-such-account/x"))


def test_a_key_file_that_cannot_be_used_says_why(tmp_path):
    file = tmp_path / "key"
    with pytest.raises(ValueError, match="cannot be read"):
        key_in(file)
    file.write_text(" \n")
    with pytest.raises(ValueError, match="is empty"):
        key_in(file)
    file.write_text(" k \n")
    assert key_in(file) == "k"


@pytest.mark.parametrize("url", ["http://a b", "http://h:0", "http://h:x", "http://", "no url", "http://[::1"])
def test_what_is_no_url_has_no_scheme(url):
    assert url_scheme(url) == ""
    assert url_scheme("https://h.example:8443/x") == "https"
