"""The journal against a small model: whatever order things happen in, the rows are where the drawing allows."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from easyalert.journal import State
from tests.easyalert.journal.conftest import OTHER_WORKER, WORKER, Machine, envelope, new_job

NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
OUTCOME_STATE = {"in_doubt": State.IN_DOUBT, "expired": State.EXPIRED}


class Model:
    """One job as the promise has it."""

    def __init__(self, state, deadline):
        self.state = state
        self.deadline = deadline
        self.deaths = 0
        self.starts = 0
        self.runs_ended = 0
        self.outcome = None
        self.result = None
        self.owner = None


class JournalMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.machine = Machine(Path(self.folder.name) / "journal.sqlite3")
        self.journal = self.machine.journal()
        self.model: dict[str, Model] = {}
        self.executed = 0
        self.failed = 0

    def teardown(self):
        self.machine.close()
        self.folder.cleanup()

    def late(self, job):
        return self.machine.monotonic_ms > job.deadline

    def expire(self, job):
        if job.deaths:
            job.state, job.outcome = State.IN_DOUBT, "in_doubt"
            self.executed += 1
            self.failed += 1
        else:
            job.state, job.outcome = State.EXPIRED, "expired"

    @rule(name=names, needs_ack=st.booleans())
    def take(self, name, needs_ack):
        ((_, fate),) = self.journal.take([new_job(name, needs_ack=needs_ack, start_within_s=100.0)])
        job = self.model.get(name)
        if job is None:
            assert fate == "new"
            state = State.TAKEN if needs_ack else State.QUEUED
            self.model[name] = Model(state, self.machine.monotonic_ms + 100_000)
        elif job.state in {State.TAKEN, State.QUEUED}:
            assert fate == "waiting"
            if not needs_ack:
                job.state = State.QUEUED
        elif job.state is State.STARTED:
            assert fate == "running"
        else:
            assert fate == "answered"
            job.state = OUTCOME_STATE.get(job.outcome, State.DONE)

    @rule(accepted=st.sets(names), refused=st.sets(names))
    def acknowledge(self, accepted, refused):
        self.journal.acknowledge(sorted(accepted), sorted(refused))
        for name in list(self.model):
            if self.model[name].state is State.TAKEN and name in accepted:
                self.model[name].state = State.QUEUED
            elif self.model[name].state is State.TAKEN and name in refused:
                del self.model[name]

    @rule(name=names, owner=st.sampled_from([WORKER, OTHER_WORKER]))
    def start(self, name, owner):
        row = self.journal.start(name, owner)
        job = self.model.get(name)
        if job is None or job.state is not State.QUEUED:
            assert row is None
        elif self.late(job):
            assert row is None
            self.expire(job)
        else:
            assert row.state is State.STARTED
            job.state, job.owner = State.STARTED, owner
            job.starts += 1
            assert job.starts == job.deaths + 1, "a second start without a death between"

    @rule(
        name=names,
        status=st.sampled_from(["success", "error"]),
        owner=st.sampled_from([None, WORKER, OTHER_WORKER]),
    )
    def finish(self, name, status, owner):
        moved = self.journal.finish(name, envelope(name, status), owner=owner)
        job = self.model.get(name)
        allowed = job is not None and job.state is State.STARTED and owner in {None, job.owner}
        assert moved is allowed
        if moved:
            job.state, job.outcome, job.result = State.DONE, "finished", envelope(name, status)
            self.executed += 1
            self.failed += status == "error"

    @rule(run_again=st.booleans())
    def owners_die(self, run_again):
        for row in self.journal.running():
            job = self.model[row.key]
            job.deaths += 1
            fate = self.journal.owner_died(row, run_again=run_again)
            if job.deaths >= 3:
                job.state, job.outcome = State.DONE, "finished"
            elif run_again:
                job.state = State.QUEUED
            else:
                job.state, job.outcome = State.IN_DOUBT, "in_doubt"
            assert fate is job.state
            if job.state is not State.QUEUED:
                self.executed += 1
                self.failed += 1

    @rule()
    def expire_late_ones(self):
        late = [n for n, j in self.model.items() if j.state is State.QUEUED and self.late(j)]
        assert sorted(self.journal.expire()) == sorted(late)
        for name in late:
            self.expire(self.model[name])

    @rule(keys=st.sets(names))
    def report(self, keys):
        self.journal.mark_reported(sorted(keys))
        for name in keys & self.model.keys():
            if self.model[name].outcome and self.model[name].state not in {State.ACKED, State.REJECTED}:
                self.model[name].state = State.ACKED

    @rule(key=names)
    def reject(self, key):
        self.journal.mark_rejected(key, "no")
        job = self.model.get(key)
        if job and job.outcome and job.state not in {State.ACKED, State.REJECTED}:
            job.state = State.REJECTED

    @rule(seconds=st.sampled_from([1, 60, 101]))
    def wait(self, seconds):
        self.machine.pass_time(seconds)

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def the_wall_clock_steps(self, seconds):
        self.machine.wall += seconds

    @rule()
    def the_process_is_replaced(self):
        self.machine.close()
        self.journal = self.machine.journal()

    @invariant()
    def rows_are_where_the_model_has_them(self):
        rows = {row.key: row for row in self.journal.latest(100)}
        assert {key: row.state for key, row in rows.items()} == {name: job.state for name, job in self.model.items()}
        for name, job in self.model.items():
            assert rows[name].deaths == job.deaths
            assert (rows[name].sealed is None) == (job.outcome is not None)
            if job.result is not None:
                assert rows[name].result == job.result, "a recorded result never changes"

    @invariant()
    def counters_equal_the_runs(self):
        figures = self.journal.figures()
        assert (figures.executed, figures.failed) == (self.executed, self.failed)
        ended = {State.DONE, State.IN_DOUBT, State.CANCELLED, State.EXPIRED}
        assert figures.undelivered == sum(job.state in ended for job in self.model.values())


TestJournalAgainstItsModel = JournalMachine.TestCase
TestJournalAgainstItsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
