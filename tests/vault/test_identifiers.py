import pytest

from easyalert.errors import InvalidConnectionId
from vault import check_connection_id


@pytest.mark.parametrize("name", ["a", "conn-1", "Conn_2", "0", "-", "_", "x" * 256])
def test_the_allowed_names_come_back_unchanged(name):
    assert check_connection_id(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 257,
        "conn-1\n",
        "\nconn-1",
        "a b",
        "a/b",
        "a.b",
        "ä",
        "a\x00",
        "\uff11",
        "a:b",
        "\ud800",
        None,
        7,
        b"conn",
    ],
)
def test_everything_else_is_refused_a_trailing_newline_included(name):
    with pytest.raises(InvalidConnectionId):
        check_connection_id(name)
