"""Values of drivers as JSON, and the limits of a result."""

import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest

from workers.sdk.database_values import CELL_MAX_BYTES, RESULT_MAX_BYTES, Rows, plain

ZONE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (None, None),
        (True, True),
        (2**63 + 1, 2**63 + 1),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.10"), 1.1),
        (Decimal(3), 3.0),
        (Decimal("33.3333333333333333333"), 33.333333333333336),
        (Decimal(2**53 + 1), "9007199254740993"),
        (Decimal("-1e400"), "-1" + "0" * 400),
        (Decimal("NaN"), "NaN"),
        (Decimal("-Infinity"), "-Infinity"),
        (dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=ZONE), "2024-02-29T01:02:03.000004+02:00"),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.time(1, 2), "01:02:00"),
        (dt.timedelta(days=1, seconds=62, microseconds=5), "24:01:02.000005"),
        (-dt.timedelta(minutes=90), "-1:30:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\xff" * 7, "[7 bytes]"),
        ([1, [Decimal("0.5"), None]], [1, [0.5, None]]),
        ({"a": (float("nan"),)}, {"a": ["NaN"]}),
    ],
)
def test_values(value, made):
    assert plain(value) == made
    json.dumps(plain(value), allow_nan=False)


def collected(columns, rows, *, limit=1000):
    made = Rows(limit)
    made.begin(columns)
    for row in rows:
        made.count(1)
        made.add(row)
    made.complete = True
    return made.output()


def test_rows_past_the_limit_are_counted():
    assert collected(["a"], [(1,), (2,), (3,)], limit=2) == {
        "columns": ["a"], "rows": [[1], [2]], "rowCount": 2, "truncated": True, "totalRows": 3,
    }  # fmt: skip


def test_a_result_that_fits_exactly_is_not_truncated():
    assert collected(["a"], [(1,), (2,)], limit=2)["truncated"] is False


def test_a_long_value_keeps_head_and_tail_and_says_its_size():
    text = "ä" + "x" * 1_000_000 + "end"
    output = collected(["id", "text"], [(1, text)])
    cell = output["rows"][0][1]
    assert output["truncated"] is True
    assert output["cellsCut"] == [{"row": 0, "column": "text", "bytes": len(text.encode())}]
    assert cell.startswith("äxx")
    assert cell.endswith("end")
    assert "bytes left out" in cell
    assert len(cell.encode()) < CELL_MAX_BYTES + 100


def test_a_secret_is_taken_out_before_a_value_is_cut():
    made = Rows(10, clean=lambda text: text.replace("s3cret", "[redacted]"))
    made.begin(["a"])
    half = CELL_MAX_BYTES // 2
    made.add(["x" * (half - 3) + "s3cret" + "x" * half * 4])
    assert "s3c" not in made.rows[0][0]


def test_the_whole_result_is_bounded_and_each_row_is_looked_at_once():
    """Defect B5: the old agent wrote the whole result out again for each row it left out."""
    output = collected(["a"], [("x" * 20_000,)] * 1000)
    assert output["truncated"] is True
    assert output["totalRows"] == 1000
    size = len(json.dumps(output["rows"]))
    assert RESULT_MAX_BYTES - 40_000 < size <= RESULT_MAX_BYTES + 200
