"""Operations in any order with odd arguments. Right orders against a model: tests/easyalert/journal/test_stateful.py."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import EasyAlertError
from easyalert.journal import Journal, State
from easyalert.runtime import ProcessIdentity
from tests.easyalert.journal.conftest import envelope, new_job
from tests.fuzz.conftest import TEXTS, VALUES, at_once, bounded

carried = st.text(min_size=1, max_size=20)  # what the job parser lets through
keys = st.sampled_from(["a", "b", "c"]) | TEXTS
owners = st.builds(ProcessIdentity, carried, st.integers(1, 2**31), st.integers(0, 2**62))
jobs = st.builds(
    new_job,
    st.sampled_from(["a", "b", "c"]) | carried,
    attempt=st.none() | st.integers(0, 2**53),
    action=carried,
    connection_id=st.none() | carried,
    needs_ack=st.booleans(),
    lease_s=st.none() | st.integers(0, 10**6),
    start_within_s=st.floats(0, 604_800),
)
OPERATIONS = {
    "take": st.tuples(st.lists(jobs, max_size=3)),
    "acknowledge": st.tuples(st.lists(keys, max_size=3), st.lists(keys, max_size=3)),
    "start": st.tuples(keys, owners),
    "finish": st.tuples(keys, keys.map(envelope)),
    "cancel": st.tuples(keys, TEXTS),
    "asked_to_cancel": st.tuples(keys),
    "mark_reported": st.tuples(st.lists(keys, max_size=3)),
    "mark_rejected": st.tuples(keys, TEXTS),
    "expire": st.tuples(),
    "prune": st.tuples(st.floats(-1e6, 1e9)),
    "get": st.tuples(keys),
    "find": st.tuples(keys),
    "latest": st.tuples(st.integers(0, 1000)),
    "note": st.tuples(TEXTS),
    "leave_note": st.tuples(TEXTS, VALUES),
    "unreported": st.tuples(st.integers(0, 1000)),
    "figures": st.tuples(),
    "unsettled": st.tuples(),
    "running": st.tuples(),
    "queued_keys": st.tuples(),
}
steps = st.sampled_from(sorted(OPERATIONS)).flatmap(lambda name: st.tuples(st.just(name), OPERATIONS[name]))
numbers = itertools.count()


@bounded(60)
@given(st.lists(steps, min_size=3, max_size=25))
def test_any_operations_in_any_order(tmp_path_factory, sequence):
    path = tmp_path_factory.getbasetemp() / f"fuzz-journal-{next(numbers)}.sqlite3"
    journal = Journal(path)
    finished = {}
    try:
        for name, arguments in sequence:
            with at_once():
                try:
                    answer = getattr(journal, name)(*arguments)
                except EasyAlertError:
                    continue
            if name == "finish" and answer:
                assert arguments[0] not in finished, "a second result"
                finished[arguments[0]] = arguments[1]
        for key, result in finished.items():
            row = journal.get(key)
            assert row is None or row.result == result
        rows = journal.latest(1000)
        assert all(isinstance(row.state, State) for row in rows)
        json.dumps([row.result for row in rows], allow_nan=False)
    finally:
        journal.close()
        path.unlink()
