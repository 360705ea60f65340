import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.protocol.keytext import exact_base64


@given(st.binary(min_size=32, max_size=32))
def test_the_one_spelling_is_read(raw):
    assert exact_base64(base64.b64encode(raw).decode(), 32) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "====",
        "not base64!",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(32)).decode() + "\n",
        base64.b64encode(bytes(32)).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        base64.b64encode(bytes(32)).decode()[:-2] + "B=",  # the same bytes, with bits left over
        "Ä" * 44,
    ],
)
def test_any_other_is_not(text):
    assert exact_base64(text, 32) is None
