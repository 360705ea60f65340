import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from controlplane.models.columns import JsonText

DIALECT = sqlite.dialect()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_values)
def test_every_json_value_comes_back(value):
    stored = JsonText().process_bind_param(value, DIALECT)
    assert stored is None or (stored.isascii() and "\x00" not in stored)
    assert JsonText().process_result_value(stored, DIALECT) == value


def test_what_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="Out of range"):
        JsonText().process_bind_param({"x": float("nan")}, DIALECT)
