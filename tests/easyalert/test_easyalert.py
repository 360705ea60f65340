from importlib.metadata import version

import pytest

import easyalert


def test_the_version_is_that_of_the_installed_distribution():
    assert easyalert.__version__ == version("easyalert-agents")


def test_other_names_are_not_made_up():
    with pytest.raises(AttributeError):
        _ = easyalert.version_of_something
