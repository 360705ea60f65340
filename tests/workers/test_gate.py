"""Before the fence: what is refused never starts, what runs is what was judged."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from easyalert.errors import JournalError
from easyalert.journal import State
from easyalert.protocol.signing import Signable, sign
from easyalert.runtime import this_process
from tests.workers.chain import Chain
from workers.gate import Admitted, Gate
from workers.jobs import JobRunner
from workers.sdk import success
from workers.toolbox import pack

OWNER = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(OWNER.public_key().public_bytes_raw()).decode()
REQUIRE = {"job_signatures": "require", "job_signature_keys": PUBLIC, "job_signature_audience": "agt_1,pool:default"}
HELLO = {"script": "echo hello"}
KINDS = ("job.started", "job.refused", "job.ended")
ID_ONE, ID_TWO = "job_01JV0000000000000000000001", "job_01JV0000000000000000000002"


class Bench:
    """One worker's gate and runner on a home of its own."""

    def __init__(self, home):
        self.home = home
        self.chain = Chain(home)
        self.journal = home.journal()
        self.tools = pack(home.settings)
        self.runner = JobRunner(self.tools, self.journal, this_process())

    def policy(self, text):
        file = self.home.settings.policy_file
        file.write_text(text)
        file.chmod(0o600)

    def run(self, action="script.bash", params=None, **fields):
        key = self.chain.take(action, HELLO if params is None else params, **fields)
        self.runner.run(key)
        return self.chain.row(key)

    def close(self):
        self.runner.close()
        self.journal.close()


@pytest.fixture
def bench_of(make_home):
    benches = []

    def make(**settings):
        benches.append(Bench(make_home("https://control.example", **settings)))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(bench_of):
    return bench_of()


def allow(actions, more=""):
    return f'[[allow]]\nname = "the rule"\nactions = {json.dumps(actions)}\n{more}'


def refused(row):
    assert row.state is State.DONE
    assert (row.started_ms, row.owner, row.sealed) == (None, None, None), "it never started"
    assert (row.result["status"], row.result["exitCode"], row.result["durationMs"]) == ("error", -1, 0)
    assert row.outcome == "finished"
    return row.result["error"]


# ---- policy ---------------------------------------------------------------------------------------------------------


def test_without_a_policy_nothing_changes(bench):
    row = bench.run()
    assert row.result["output"]["stdout"] == "hello\n"


def test_a_refused_job_never_starts_and_says_rule_file_and_command(bench):
    bench.policy(allow(["script.bash"], 'connections = ["web-1"]\n'))
    sentence = refused(row := bench.run())
    assert "no [[allow]] rule fits; the nearest, 'the rule', fails at connections" in sentence
    assert f"easyalert-agent policy check {bench.home.settings.policy_file} JOB.json" in sentence
    assert row.fault == "job"
    assert bench.runner.ended(row.key).word == "error"


def recorded(bench, kind):
    return [row.fields for row in bench.journal.audit_waiting(100) if row.kind == kind]


def test_the_decision_is_recorded_with_the_start_or_the_refusal(bench):
    bench.run()
    bench.policy(allow(["script.bash"]))
    bench.run()
    bench.run("http.request", {"url": "https://x.example/?key=not-to-be-seen"})
    bench.policy("dry_run = true\n" + allow(["script.bash"]))
    bench.run()
    bench.policy("no = 1")
    bench.run()
    assert [entry["policy"] for entry in recorded(bench, "job.started")] == [None, "allowed by [[allow]] 'the rule'"]
    refusals = recorded(bench, "job.refused")
    unknown, dry, broken = (entry["policy"] for entry in refusals)
    assert unknown == "policy: no [[allow]] rule names the action"
    assert dry == "policy: dry run, it would run: allowed by [[allow]] 'the rule'"
    assert broken.startswith("policy: every job is refused: ")
    ends = {entry["jobId"]: entry for entry in recorded(bench, "job.ended")}
    for entry in refusals:
        end = ends[entry["jobId"]]
        assert (end["ran"], end["status"], len(end["paramsDigest"])) == (False, "error", 64)
    assert "not-to-be-seen" not in json.dumps([row.fields for row in bench.journal.audit_waiting(100)])


def test_a_missing_signature_is_recorded_as_the_reason(bench_of):
    bench = bench_of(**REQUIRE)
    refused(bench.run())
    assert [entry["policy"] for entry in recorded(bench, "job.refused")] == ["signature: the job is not signed"]


def test_for_whom_it_ran_is_recorded_or_that_nobody_said(bench):
    unknown = "unknown (not said by the control plane)"
    ada, nobody = (bench.run(requested_by=by).key for by in ("Ada (tok_1)", None))
    bench.policy("")
    refusal = bench.run(requested_by="Eve (tok_2)").key
    said = {(kind, e["jobId"]): e["requestedBy"] for kind in KINDS for e in recorded(bench, kind)}
    assert said == {
        ("job.started", ada): "Ada (tok_1)",
        ("job.ended", ada): "Ada (tok_1)",
        ("job.started", nobody): unknown,
        ("job.ended", nobody): unknown,
        ("job.refused", refusal): "Eve (tok_2)",
        ("job.ended", refusal): "Eve (tok_2)",
    }


def test_what_ran_with_which_signature_or_without_one_is_recorded(bench_of):
    bench = bench_of(**{**REQUIRE, "job_signatures": "warn"})
    bench.run()
    bench.run(job_id=ID_ONE, signature=signed(ID_ONE))
    bench.run(params={"script": "echo other"}, job_id=ID_TWO, signature=signed(ID_TWO))
    bench.run(signature={"value": "x" * 5000})
    said = [entry["signature"] for entry in recorded(bench, "job.started")]
    key = signed(ID_ONE)["keyId"]
    assert said[:2] == ["not trusted: the job is not signed", f"trusted: key {key}"]
    assert said[2].startswith("not trusted: the signature is not one of this job")
    assert said[3].startswith("not trusted: the job's signature is malformed")
    off = bench_of()
    off.run()
    assert [entry["signature"] for entry in recorded(off, "job.started")] == [None]


def test_what_could_not_be_judged_is_recorded_without_its_words(bench, monkeypatch):
    bench.policy(allow(["*"]))
    monkeypatch.setattr("workers.gate.decide", lambda *_: 1 / 0)
    refused(bench.run())
    assert [entry["policy"] for entry in recorded(bench, "job.refused")] == ["it could not be judged"]


def test_a_policy_that_comes_changes_and_goes_counts_for_the_next_job(bench):
    assert bench.run().result["status"] == "success"
    bench.policy(allow(["http.*"]))
    refused(bench.run())
    bench.policy(allow(["script.*"]))
    assert bench.run().result["status"] == "success"
    bench.policy(f'[[deny]]\nname = "stop"\nreason = "call Ada"\nactions = ["*"]\n{allow(["script.*"])}')
    assert "[[deny]] 'stop' fits (call Ada)" in refused(bench.run())


def test_a_broken_file_refuses_everything_and_is_the_agents_fault(bench):
    bench.policy("[[allow]]\nnome = 'x'\n")
    row = bench.run()
    sentence = refused(row)
    assert sentence.startswith("this agent refuses every job: ")
    assert "line 2, rule 1 of [[allow]]: 'nome' is no key" in sentence
    assert sentence.endswith("easyalert-agent policy show")
    assert row.fault == "agent", "dispatch has to turn to others"
    assert refused(bench.run("connection.test", {}, connection_id="web-1"))


def test_a_dry_run_decides_answers_and_runs_nothing(bench, tmp_path):
    bench.policy("dry_run = true\n" + allow(["script.bash"]))
    mark = tmp_path / "mark"
    row = bench.run(params={"script": f"touch {mark}"})
    assert "dry run: nothing was run; the job would run: allowed by [[allow]] 'the rule'" in refused(row)
    assert row.result["output"]["policy"] == {
        "dryRun": True,
        "allowed": True,
        "rule": "the rule",
        "sentence": "allowed by [[allow]] 'the rule'",
    }
    assert not mark.exists()
    row = bench.run("script.python")
    assert "the job would be refused" in refused(row)
    assert row.result["output"]["policy"]["allowed"] is False


def test_deliveries_and_vault_checks_are_jobs_like_any_other(bench):
    bench.policy(allow(["system.storeCredential"], 'connections = ["web-*"]\n'))
    entry = {"host": "a.test", "password": "hunter2-hunter2"}
    row = bench.run("system.storeCredential", {"connectionId": "web-1", "credentials": entry})
    assert row.result["status"] == "success"
    row = bench.run("system.storeCredential", {"connectionId": "db-1", "credentials": entry}, connection_id="web-1")
    assert "fails at connections" in refused(row)
    assert "hunter2" not in json.dumps(row.result)
    refused(bench.run("connection.test", {}, connection_id="web-1"))
    assert bench.tools.vault.names() == ["web-1"]


def test_the_address_in_the_vault_counts(bench):
    bench.tools.vault.put("shop", {"baseUrl": "https://shop.test", "token": "t0ken-t0ken"})
    bench.policy(allow(["http.request"], 'targets = ["https://other.test"]\n'))
    assert "fails at targets" in refused(bench.run("http.request", {"url": "/x"}, connection_id="shop"))
    gate = Gate(bench.tools, bench.journal)
    key = bench.chain.take("http.request", {"url": "/x"}, connection_id="shop")
    bench.policy(allow(["http.request"], 'targets = ["https://shop.test/"]\n'))
    admitted = gate.judge(bench.chain.row(key))
    assert isinstance(admitted, Admitted)
    assert admitted.params == {"url": "/x"}
    assert "url" not in repr(admitted)


def test_the_entry_that_was_judged_is_the_one_the_job_gets(bench, monkeypatch):
    bench.tools.vault.put("shop", {"baseUrl": "http://127.0.0.1:9/", "token": "t0ken-t0ken"})
    bench.policy(allow(["http.request"], 'targets = ["http://127.0.0.1:9/"]\n'))
    given = []

    def work(_loop, _executor, ctx, _name):
        given.append(ctx.read_credential("shop"))
        given.append(ctx.read_credential("other"))
        return success({})

    start = bench.journal.start

    def delivered_meanwhile(*arguments, **named):
        bench.tools.vault.put("shop", {"baseUrl": "http://elsewhere.test/"})
        return start(*arguments, **named)

    monkeypatch.setattr("workers.jobs.run_action", work)
    monkeypatch.setattr(bench.journal, "start", delivered_meanwhile)
    bench.run("http.request", {"url": "/x"}, connection_id="shop")
    assert given == [{"baseUrl": "http://127.0.0.1:9/", "token": "t0ken-t0ken"}, None]


def test_a_vault_that_cannot_be_read_lets_nothing_through_by_its_target(bench):
    bench.policy(allow(["http.request"], 'targets = ["https://shop.test/"]\n'))
    bench.home.settings.vault_path.write_text("damaged")
    row = bench.run("http.request", {"url": "https://shop.test/x"}, connection_id="shop")
    assert "this agent's policy: it needs the connection's address" in refused(row)


def test_a_job_that_is_late_expires_and_one_that_ran_before_is_in_doubt(bench):
    bench.policy(allow(["http.*"]))
    assert bench.run(start_within_s=-1.0).state is State.EXPIRED
    key = bench.chain.take("script.bash", HELLO)
    bench.journal.owner_died(bench.journal.start(key, this_process()), run_again=True)
    bench.runner.run(key)
    assert bench.chain.row(key).state is State.IN_DOUBT


def test_the_window_counts_when_the_job_is_about_to_start(bench):
    bench.policy('timezone = "UTC"\n' + allow(["script.bash"], 'hours = ["08:00-09:00"]\n'))
    key = bench.chain.take("script.bash", HELLO)
    row = bench.chain.row(key)
    day = 1_767_571_200  # 2026-01-05, 00:00 UTC
    assert isinstance(Gate(bench.tools, bench.journal, clock=lambda: day + 8.5 * 3600).judge(row), Admitted)
    assert "fails at hours" in Gate(bench.tools, bench.journal, clock=lambda: day + 9 * 3600).judge(row).result.error


def test_a_mistake_in_judging_starts_nothing_and_ends_no_worker(bench, monkeypatch):
    bench.policy(allow(["*"]))
    monkeypatch.setattr("workers.gate.decide", lambda *_: 1 / 0)
    row = bench.run()
    assert "unexpected ZeroDivisionError while the job was judged, so it was not started" in refused(row)
    assert row.fault == "agent"


def test_a_journal_that_cannot_be_read_is_no_answer(bench, monkeypatch):
    def away(_name):
        raise JournalError("disk I/O error")

    key = bench.chain.take("script.bash", HELLO)
    monkeypatch.setattr(bench.journal, "note", away)
    with pytest.raises(JournalError):
        bench.runner.run(key)
    assert bench.chain.row(key).state is State.QUEUED


# ---- signatures -----------------------------------------------------------------------------------------------------


def signed(job_id, params=None, key=OWNER, **changes):
    fields = {
        "job_id": job_id,
        "audience": "agt_1",
        "action_type": "script.bash",
        "connection_id": None,
        "params": HELLO if params is None else params,
        "idempotent": None,
        "expires_at": int(time.time()) + 600,
    }
    return sign(key, Signable(**{**fields, **changes})).wire()


@pytest.fixture
def strict(bench_of):
    return bench_of(**REQUIRE)


def test_a_signed_job_runs(strict):
    row = strict.run(job_id="job_a", signature=signed("job_a"))
    assert row.result["output"]["stdout"] == "hello\n"
    row = strict.run(job_id="job_b", signature=signed("job_b", audience="pool:default"))
    assert row.result["status"] == "success"


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (lambda job: None, "the job is not signed"),
        (lambda job: signed(job, params={"script": "echo bye"}), "were changed"),
        (lambda job: signed(job, connection_id="web-1"), "were changed"),
        (lambda job: signed("job_other"), "is for another job"),
        (lambda job: signed(job, audience="agt_2"), "is for 'agt_2'"),
        (lambda job: signed(job, expires_at=int(time.time()) - 5), "expired"),
        (lambda job: signed(job, key=Ed25519PrivateKey.generate()), "is not trusted here"),
        (lambda job: {**signed(job), "value": "&&&"}, "is not 64 bytes in base64"),
        (lambda job: "odd", "malformed"),
    ],
)
def test_every_other_is_refused_before_it_starts_or_runs_with_a_warning(bench_of, caplog, signature, says):
    sentence = refused(bench_of(**REQUIRE).run(job_id="job_a", signature=signature("job_a")))
    assert sentence.startswith("refused, this agent runs signed jobs only: ")
    assert says in sentence
    lenient = bench_of(**{**REQUIRE, "job_signatures": "warn"})
    caplog.clear()
    assert lenient.run(job_id="job_a", signature=signature("job_a")).result["status"] == "success"
    assert "job job_a (script.bash) runs without a trusted signature: " in caplog.text
    assert says in caplog.text
    caplog.clear()
    off = bench_of()
    assert off.run(job_id="job_a", signature=signature("job_a")).result["status"] == "success"
    assert "signature" not in caplog.text


def test_a_job_that_has_run_is_not_run_again_under_its_next_number(strict, tmp_path):
    mark = tmp_path / "mark"
    params = {"script": f"echo x >> {mark}"}
    signature = signed("job_a", params)
    assert strict.run(params=params, job_id="job_a", attempt=1, signature=signature).result["status"] == "success"
    sentence = refused(strict.run(params=params, job_id="job_a", attempt=2, signature=signature))
    assert "the signature was used before (see: easyalert-agent jobs job_a)" in sentence
    assert mark.read_text() == "x\n"


def test_a_signature_is_not_used_up_by_a_job_the_policy_refuses(strict):
    strict.policy(allow(["http.*"]))
    refused(strict.run(job_id="job_a", attempt=1, signature=signed("job_a")))
    strict.policy(allow(["script.*"]))
    assert strict.run(job_id="job_a", attempt=2, signature=signed("job_a")).result["status"] == "success"


def test_what_runs_is_the_spelling_that_was_signed(strict):
    script = 'printf "%s\\n" "$@"'
    signature = signed("job_a", {"script": script, "args": [1, 2.5]})
    row = strict.run(params={"script": script, "args": [1.0, 2.50]}, job_id="job_a", signature=signature)
    assert row.result["output"]["stdout"] == "1\n2.5\n"


def test_keys_that_cannot_be_read_refuse_everything_where_they_are_required(bench_of, tmp_path):
    missing = {**REQUIRE, "job_signature_keys_file": str(tmp_path / "keys")}
    row = bench_of(**missing).run(job_id="job_a", signature=signed("job_a"))
    assert "this agent refuses every job: " in refused(row)
    assert row.fault == "agent"
    assert bench_of(**{**missing, "job_signatures": "warn"}).run().result["status"] == "success"


def test_a_key_that_is_withdrawn_counts_no_more_for_the_next_job(bench_of, tmp_path):
    file = tmp_path / "keys"
    file.write_text(PUBLIC)
    file.chmod(0o600)
    settings = {**REQUIRE, "job_signature_keys": "", "job_signature_keys_file": str(file)}
    bench = bench_of(**settings)
    assert bench.run(job_id="job_a", signature=signed("job_a")).result["status"] == "success"
    file.write_text(base64.b64encode(bytes(range(32))).decode())
    assert "is not trusted here" in refused(bench.run(job_id="job_b", signature=signed("job_b")))


def test_parameters_that_cannot_be_opened_are_refused_too(bench):
    bench.policy(allow(["*"]))
    key = bench.chain.take("script.bash", HELLO)
    bench.journal._db.execute("UPDATE jobs SET sealed = x'00' WHERE key = ?", (key,))
    bench.runner.run(key)
    row = bench.chain.row(key)
    assert "cannot be opened" in refused(row)
    assert row.fault == "agent"
