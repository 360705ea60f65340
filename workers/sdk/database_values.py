"""Rows of a result on their way into JSON: plain values, bounded cells, a bounded whole (contract 3.10, 2.7).

What JSON has stays what it is, integers of any size included. Decimals become floats, as the contract has it; a whole
decimal above 2^53 becomes text, because as a float it would be another number. NaN and infinities are text (`"NaN"`,
`"Infinity"`), so that they are no NULL. Dates and times are ISO 8601, durations text, bytes their number in
brackets, arrays and objects lists and objects of these, anything else its text.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from easyalert.protocol.results import json_safe
from workers.sdk.output import BoundedOutput

ROWS_MAX: Final = 1_000
RESULT_MAX_BYTES: Final = 1_048_576
CELL_MAX_BYTES: Final = 262_144

_EXACT_FLOAT: Final = 2**53
_MAX_DEPTH: Final = 32


def plain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - a table of types
    """A value of a driver as one of JSON; see the module's docstring."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return _duration(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in value]
    return str(value)


def _not_finite(value: float | Decimal) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _decimal(value: Decimal) -> float | str:
    if not value.is_finite():
        return _not_finite(value)
    made = float(value)
    if not math.isfinite(made) or (abs(value) > _EXACT_FLOAT and value == value.to_integral_value()):
        return format(value, "f")
    return made


def _duration(value: dt.timedelta) -> str:
    """`[-]H:MM:SS[.ffffff]`, hours beyond 24 counted on: the form of MySQL's TIME."""
    sign, whole = ("-", -value) if value < dt.timedelta() else ("", value)
    hours, rest = divmod(whole.days * 86_400 + whole.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{whole.microseconds:06d}" if whole.microseconds else ""
    return f"{sign}{hours}:{minutes:02d}:{seconds:02d}{fraction}"


class Rows:
    """Collects one result set up to its limits. Memory: the limits, whatever the server sends."""

    def __init__(self, limit: int, clean: Callable[[str], str] = lambda text: text) -> None:
        self._limit = limit
        self._clean = clean
        self.columns: list[str] | None = None
        """None until a statement has answered with rows, even with none of them."""
        self.rows: list[list[Any]] = []
        self.cut: list[dict[str, Any]] = []
        """`{"row": 0, "column": "t", "bytes": 5000000}` for each cell of which only head and tail are here."""
        self.seen = 0
        """Rows the server has sent of this set."""
        self.complete = False
        """Whether that is all of them."""
        self._size = 0
        self._full = False

    def begin(self, columns: Iterable[str]) -> None:
        """A new set of rows; what an earlier statement answered is dropped."""
        self.columns = list(columns)
        self.rows, self.cut = [], []
        self.seen = self._size = 0
        self.complete = self._full = False

    @property
    def full(self) -> bool:
        """No further row will be taken."""
        return self._full or len(self.rows) >= self._limit

    @property
    def overflowed(self) -> bool:
        """The server has sent a row that was left out."""
        return self.seen > len(self.rows)

    @property
    def truncated(self) -> bool:
        """Rows or parts of cells are missing here."""
        return self.overflowed or not self.complete or bool(self.cut)

    def count(self, number: int) -> None:
        """So many rows were sent, taken or not."""
        self.seen += number

    def add(self, row: Iterable[Any]) -> None:
        """Take a row if there is room for it; else it is left out, and `full`."""
        if self.full:
            return
        cut: list[dict[str, Any]] = []
        values = [self._cell(plain(value), index, cut) for index, value in enumerate(row)]
        size = len(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()) + 1
        if self._size + size > RESULT_MAX_BYTES:
            self._full = True
            return
        self._size += size
        self.rows.append(values)
        self.cut += cut

    def _cell(self, value: Any, index: int, cut: list[dict[str, Any]]) -> Any:
        if value is None or isinstance(value, int | float):
            return value
        safe = json_safe(value)
        text = safe if isinstance(safe, str) else json.dumps(safe, ensure_ascii=False)
        if len(text) <= CELL_MAX_BYTES // 4:
            return safe
        raw = text.encode()
        if len(raw) <= CELL_MAX_BYTES:
            return safe
        # redacted before it is cut: a secret cut in two is not found any more
        kept = BoundedOutput(CELL_MAX_BYTES)
        kept.feed(self._clean(text).encode())
        column = (self.columns or [])[index : index + 1]
        cut.append({"row": len(self.rows), "column": column[0] if column else "", "bytes": len(raw)})
        return kept.text()

    def output(self) -> dict[str, Any]:
        """Contract 3.10; `totalRows` and `cellsCut` are more than it has, and there when something is missing."""
        made: dict[str, Any] = {
            "columns": self.columns or [],
            "rows": self.rows,
            "rowCount": len(self.rows),
            "truncated": self.truncated,
        }
        if self.complete and self.seen > len(self.rows):
            made["totalRows"] = self.seen
        if self.cut:
            made["cellsCut"] = self.cut
        return made
