"""JSON in the one form that everybody writes alike: the JSON Canonicalization Scheme, RFC 8785.

Members are sorted by the UTF-16 units of their names, text is escaped only where it must be, numbers are written as
ECMAScript writes them (`1.0` is `1`, `1e21` is `1e+21`). Characters are not normalised: composed and decomposed
spellings stay two texts. Whole numbers beyond 2^53 are refused: ECMAScript's readers would take two of them for one.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Final

SAFE_INTEGER: Final = 2**53 - 1
DEPTH_MAX: Final = 100


class NotCanonical(ValueError):  # noqa: N818 - the condition is the name
    """A value that has no canonical form; the sentence says which, never its content."""


def canonical(value: Any) -> bytes:
    """The canonical form, UTF-8. Raises NotCanonical."""
    try:
        return _text(value, 0).encode()
    except UnicodeEncodeError:
        raise NotCanonical("a text holds half a character (a lone surrogate)") from None


def _text(value: Any, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise NotCanonical(f"it is nested more than {DEPTH_MAX} levels deep")
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > SAFE_INTEGER:
            raise NotCanonical("a whole number is beyond 2^53; write it as a text")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item, depth + 1) for item in value) + "]"
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise NotCanonical("a member's name is no text")
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
        named = (f"{json.dumps(name, ensure_ascii=False)}:{_text(item, depth + 1)}" for name, item in members)
        return "{" + ",".join(named) + "}"
    raise NotCanonical(f"{type(value).__name__} is no JSON")


def _number(value: float) -> str:
    """ECMA-262, Number::toString: the shortest digits that are read back as the same number."""
    if not math.isfinite(value):
        raise NotCanonical("a number is infinite or no number")
    if value == 0:
        return "0"
    _, digit_list, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, digit_list))
    sign, point = "-" if value < 0 else "", len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
