"""The error tree and the drawing of it."""

import inspect
import re

import pytest

from easyalert import errors
from easyalert.errors import ControlPlaneError, EasyAlertError, Fault, InvalidParameter, RateLimited

CLASSES = {
    name: member
    for name, member in vars(errors).items()
    if inspect.isclass(member) and issubclass(member, EasyAlertError)
}
LINE = re.compile(r"^    (?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+)(?P<rest>.*)$")


def drawn():
    """name → (parent, what the line says about it)."""
    found, branch = {}, []
    for line in errors.__doc__.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        depth = len(match["indent"]) // 4
        del branch[depth:]
        found[match["name"]] = (branch[-1] if branch else None, match["rest"])
        branch.append(match["name"])
    return found


def test_the_drawing_is_the_tree():
    tree = {name: None if member is EasyAlertError else member.__base__.__name__ for name, member in CLASSES.items()}
    assert {name: parent for name, (parent, _) in drawn().items()} == tree


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_drawing_says_whose_fault_and_what_may_be_retried(name):
    parent, rest = drawn()[name]
    text = rest
    while "fault:" not in text and parent is not None:
        parent, text = drawn()[parent]
    fault = re.search(r"fault: ([a-z ]+)", text)
    if fault:
        assert CLASSES[name].fault is Fault(fault[1].strip().replace(" ", "_"))
    if "retryable" in rest:
        assert CLASSES[name].retryable
    elif CLASSES[name].retryable:
        assert name == "VaultUnavailable", f"{name} is retryable and the drawing does not say so"


def test_statuses_and_pauses_are_carried():
    assert ControlPlaneError("x").status is None
    assert ControlPlaneError("x", status=503).status == 503
    limited = RateLimited("x", retry_after=2.5)
    assert (limited.status, limited.retry_after) == (429, 2.5)


def test_a_wrong_parameter_is_named():
    error = InvalidParameter("timeout", "must be a number")
    assert (error.parameter, str(error)) == ("timeout", "parameter 'timeout' must be a number")
