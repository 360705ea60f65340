"""What a job's sender has sealed to this agent: opened for that job, there and then, and answered clearly otherwise."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from easyalert.delivery_key import new_delivery_key, public_delivery_key
from easyalert.journal import State
from easyalert.protocol.sealed import FORMAT, STORE_CREDENTIAL, Addressed, seal
from easyalert.protocol.signing import Signable, sign
from easyalert.runtime import this_process
from tests.workers.chain import Chain
from tests.workers.test_gate import OWNER, REQUIRE
from workers import gate
from workers.jobs import JobRunner
from workers.toolbox import pack

CANARY = "c4nary-horse-battery"
CREDENTIALS = {"host": "10.0.0.5", "password": CANARY}
EXPIRES = int(time.time()) + 3600


class Bench:
    """One worker on a home of its own, registered as `agt_1`."""

    def __init__(self, home, agent_id="agt_1"):
        self.home = home
        self.chain = Chain(home)
        self.journal = home.journal()
        if agent_id:
            self.journal.leave_note("registration", {"agentId": agent_id})
        self.tools = pack(home.settings)
        self.runner = JobRunner(self.tools, self.journal, this_process())

    @property
    def public(self):
        return public_delivery_key(self.home.settings.delivery_key_path)

    def rotate(self):
        new_delivery_key(self.home.settings.delivery_key_path, self.tools.private_key)

    def sealed(self, secret, *, key=None, purpose="credentials", job_id="job_1", agent_id="agt_1",
               action=STORE_CREDENTIAL, connection="web", expires_at=EXPIRES):  # fmt: skip
        to = Addressed(purpose, agent_id, job_id, action, connection, expires_at)
        return seal(key or self.public, to, secret).wire()

    def store(self, value, *, job_id="job_1", connection="web", **fields):
        return self.run(STORE_CREDENTIAL, {"connectionId": connection, "credentials": value}, job_id=job_id, **fields)

    def run(self, action, params, **fields):
        key = self.chain.take(action, params, **fields)
        self.runner.run(key)
        return self.chain.row(key)

    @property
    def stored(self):
        return {name: self.tools.vault.get(name) for name in self.tools.vault.names()}

    def close(self):
        self.runner.close()
        self.journal.close()


@pytest.fixture
def bench_of(make_home):
    benches = []

    def make(agent_id="agt_1", **settings):
        benches.append(Bench(make_home("https://control.example", **settings), agent_id))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(bench_of):
    return bench_of()


def refused(row):
    """Its sentence; nothing was started."""
    assert row.state is State.DONE
    assert (row.started_ms, row.owner, row.sealed) == (None, None, None), "it never started"
    assert (row.result["status"], row.result["exitCode"]) == ("error", -1)
    assert row.fault == "job"
    return row.result["error"]


def failed(row):
    """Its sentence, whether or not it was started."""
    assert (row.state, row.result["status"], row.result["exitCode"]) == (State.DONE, "error", -1)
    return row.result["error"]


# ---- credentials ----------------------------------------------------------------------------------------------------


def test_sealed_credentials_are_stored_as_they_were_and_nothing_shows_them(bench, caplog):
    row = bench.store(bench.sealed(CREDENTIALS))
    assert row.result["status"] == "success", row.result
    assert bench.stored == {"web": CREDENTIALS}
    assert CANARY not in json.dumps(row.result) + caplog.text
    for file in bench.home.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert CANARY.encode() not in file.read_bytes(), file


def test_both_ways_of_delivery_are_there_and_one_can_be_closed(bench, bench_of):
    assert bench.store(CREDENTIALS).result["status"] == "success"
    strict = bench_of(credential_delivery="sealed")
    plain = strict.store(CREDENTIALS)
    assert "this agent takes sealed credentials only (CREDENTIAL_DELIVERY=sealed)" in failed(plain)
    assert strict.stored == {}
    assert strict.store(strict.sealed(CREDENTIALS, job_id="job_2"), job_id="job_2").result["status"] == "success"


def test_before_the_first_registration_the_key_alone_decides(bench_of):
    """A job may wait in the journal while the control plane is away."""
    bench = bench_of(agent_id=None)
    assert bench.store(bench.sealed(CREDENTIALS)).result["status"] == "success"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"agent_id": "agt_2"}, "are for agent agt_2, and this is agt_1"),
        ({"job_id": "job_7"}, "belong to another job (job_7)"),
        ({"expires_at": 1_700_000_000}, "expired"),
        ({"expires_at": EXPIRES + 40 * 86_400}, "valid for more than 31 days"),
        ({"key": X25519PrivateKey.generate().public_key().public_bytes_raw()}, "were sealed to the key"),
    ],
)
def test_what_is_for_another_agent_job_key_or_time_does_not_start(bench, changes, sentence):
    error = refused(bench.store(bench.sealed(CREDENTIALS, **changes)))
    assert sentence in error
    assert "seal them again" in error
    assert bench.stored == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"connection": "other"}, "it was sealed with another connectionId than the job has"),
        ({"action": "http.request"}, "it was sealed with another actionType than the job has"),
        ({"purpose": "params"}, "do not open"),
    ],
)
def test_what_is_for_another_use_is_not_stored(bench, changes, sentence):
    error = failed(bench.store(bench.sealed(CREDENTIALS, **changes)))
    assert sentence in error
    assert bench.stored == {}


def test_a_relabelled_value_does_not_open(bench):
    """Its head says what the agent wants to hear, its ciphertext was made for something else."""
    for number, (name, wanted) in enumerate({"agentId": "agt_2", "jobId": "job_x", "expiresAt": EXPIRES - 60}.items()):
        job_id = f"job_{number}"
        made = {"agentId": "agent_id", "jobId": "job_id", "expiresAt": "expires_at"}[name]
        value = bench.sealed(CREDENTIALS, **{"job_id": job_id, made: wanted})
        value[FORMAT][name] = {"agentId": "agt_1", "jobId": job_id, "expiresAt": EXPIRES}[name]
        error = failed(bench.store(value, job_id=job_id))
        assert "do not open" in error or "another expiresAt" in error
    assert bench.stored == {}


def test_a_changed_character_anywhere_stores_nothing(bench):
    places = [
        (name, place)
        for name, content in bench.sealed(CREDENTIALS, job_id="job_0")[FORMAT].items()
        for place in {0, 1, len(str(content)) // 2, len(str(content)) - 1}
    ]
    for number, (name, place) in enumerate(places, 10):
        value = bench.sealed(CREDENTIALS, job_id=f"job_{number}")
        text = str(value[FORMAT][name])
        changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        value[FORMAT][name] = int(changed) if name == "expiresAt" else changed
        error = failed(bench.store(value, job_id=f"job_{number}"))
        assert "the job's sealed credentials" in error, (name, place, error)
    assert bench.stored == {}


def test_the_same_value_is_good_for_one_start_of_one_job(bench):
    value = bench.sealed(CREDENTIALS)
    assert bench.store(value).result["status"] == "success"
    assert (
        bench.store(bench.sealed({"password": "newer-one"}, job_id="job_2"), job_id="job_2").result["status"]
        == "success"
    )
    assert "belong to another job (job_1)" in refused(bench.store(value, job_id="job_3"))
    again = refused(bench.store(value, attempt=2))
    assert "were used before (see: easyalert-agent jobs job_1" in again
    assert bench.stored == {"web": {"password": "newer-one"}}


def test_after_a_rotation_the_old_key_is_answered_with_what_to_do(bench):
    value, former = bench.sealed(CREDENTIALS), bench.public
    bench.rotate()
    error = refused(bench.store(value))
    assert "GET /api/v1/agents/ID" in error
    assert "easyalert-agent delivery-key" in error
    assert former != bench.public
    assert bench.store(bench.sealed(CREDENTIALS, job_id="job_2"), job_id="job_2").result["status"] == "success"


def test_a_lost_key_is_replaced_at_its_next_use(bench):
    value, former = bench.sealed(CREDENTIALS), bench.public
    bench.home.settings.delivery_key_path.unlink()
    assert "were sealed to the key" in refused(bench.store(value))
    assert bench.public not in {None, former}


@pytest.mark.parametrize("inner", [{}, [], "text", None, {"agentId": "agt_1"}, {"ciphertext": "A" * 1_000_000}])
def test_malformed_values_are_named(bench, inner):
    assert "the job's sealed credentials are malformed: " in refused(bench.store({FORMAT: inner}))


def test_a_huge_value_is_refused_without_being_opened_and_the_worker_lives(bench):
    value = bench.sealed(CREDENTIALS)
    value[FORMAT]["ciphertext"] = base64.b64encode(bytes(6_000_000)).decode()
    assert "do not open" in failed(bench.store(value))
    assert bench.store(bench.sealed(CREDENTIALS, job_id="job_2"), job_id="job_2").result["status"] == "success"


def test_sealed_credentials_are_refused_over_plain_http_to_another_machine(make_home):
    """Who can change that traffic can have given the control plane a key of his own at the registration."""
    bench = Bench(make_home("http://control.example"))
    assert "plain http to another machine" in failed(bench.store(bench.sealed(CREDENTIALS)))
    bench.close()


@pytest.mark.parametrize("inside", [{}, {"nested": {}}])
def test_empty_credentials_are_none_sealed_or_not(bench, inside):
    row = bench.store(bench.sealed(inside))
    assert (row.result["status"] == "success") is bool(inside)


# ---- parameters -----------------------------------------------------------------------------------------------------


def script(bench, text, *, job_id="job_1", connection=None, action="script.bash", **fields):
    return bench.sealed(
        {"script": text}, purpose="params", action=action, connection=connection, job_id=job_id, **fields
    )


def test_sealed_parameters_run_and_what_is_secret_in_them_is_redacted(bench):
    row = bench.run("script.bash", {**script(bench, "echo hello; cat $0"), "timeout": 30}, job_id="job_1")
    assert row.result["status"] == "success", row.result
    assert row.result["output"]["stdout"].startswith("hello\n")
    assert "cat $0" not in json.dumps(row.result)


def test_the_time_limit_stands_in_clear(bench):
    row = bench.run("script.bash", script(bench, "true") | {"timeout": 30}, job_id="job_1", timeout_s=30)
    assert row.result["status"] == "success"
    inside = bench.sealed({"script": "true", "timeout": 5}, purpose="params", action="script.bash", connection=None,
                          job_id="job_2")  # fmt: skip
    assert "hold a timeout: it stands beside them" in refused(bench.run("script.bash", inside, job_id="job_2"))


def test_sealed_parameters_are_for_one_action_and_one_connection(bench):
    error = refused(bench.run("script.python", script(bench, "x"), job_id="job_1"))
    assert "another actionType than the job has" in error
    error = refused(bench.run("script.bash", script(bench, "x", job_id="job_2"), job_id="job_2", connection_id="web"))
    assert "another connectionId than the job has" in error


def test_nothing_may_be_added_to_them(bench):
    params = script(bench, "true") | {"environment": {"BASH_ENV": "x"}}
    assert "nothing may stand beside what is sealed" in refused(bench.run("script.bash", params, job_id="job_1"))


def test_a_delivery_shows_its_connection_to_the_policy(bench):
    params = bench.sealed({"connectionId": "web", "credentials": CREDENTIALS}, purpose="params", connection=None)
    assert "takes its credentials sealed, not all of its params" in refused(
        bench.run(STORE_CREDENTIAL, params, job_id="job_1")
    )


def test_whether_it_may_run_twice_is_asked_of_what_is_inside(bench):
    """A sealed POST must not pass for the harmless GET that no parameters at all would be."""
    for number, (method, repeats) in enumerate({"GET": True, "POST": False}.items()):
        secret = {"url": "https://a.example", "method": method}
        job_id = f"job_{number}"
        params = bench.sealed(secret, purpose="params", action="http.request", connection=None, job_id=job_id)
        row = bench.chain.row(bench.chain.take("http.request", params, job_id=job_id))
        assert bench.tools.may_repeat(row) is repeats
        assert bench.tools.may_repeat(dataclasses.replace(row, connection_id="other")) is False


# ---- beside policy and signatures -----------------------------------------------------------------------------------


def policy(bench, text):
    file = bench.home.settings.policy_file
    file.write_text(text)
    file.chmod(0o600)


def test_the_policy_judges_a_sealed_script_by_what_runs(bench, tmp_path):
    mark = tmp_path / "mark"
    text = f"touch {mark}"
    allowed = hashlib.sha256(text.encode()).hexdigest()
    policy(bench, f'[[allow]]\nname = "known"\nactions = ["script.bash"]\nsha256 = ["{allowed}"]\n')
    row = bench.run("script.bash", script(bench, f"{text}; true"), job_id="job_1")
    assert "refused by this agent's policy" in refused(row)
    assert not mark.exists()
    assert str(mark) not in json.dumps(row.result)
    row = bench.run("script.bash", script(bench, text, job_id="job_2"), job_id="job_2")
    assert row.result["status"] == "success"
    assert mark.exists()


def test_the_policy_decides_about_a_delivery_by_its_connection(bench):
    policy(bench, '[[allow]]\nname = "databases"\nactions = ["system.storeCredential"]\nconnections = ["db-*"]\n')
    for number, (connection, allowed) in enumerate({"web": False, "db-1": True}.items()):
        job_id = f"job_{number}"
        value = bench.sealed(CREDENTIALS, connection=connection, job_id=job_id)
        row = bench.store(value, connection=connection, job_id=job_id)
        assert (row.result["status"] == "success") is allowed, row.result
    assert list(bench.stored) == ["db-1"]


def test_what_the_policy_gets_of_a_delivery_is_still_sealed(bench, monkeypatch):
    seen, real = [], gate.asked_of
    monkeypatch.setattr(gate, "asked_of", lambda *asked: seen.append(asked) or real(*asked))
    policy(bench, '[[allow]]\nname = "all"\nactions = ["*"]\n')
    assert bench.store(bench.sealed(CREDENTIALS)).result["status"] == "success"
    assert len(seen) == 1
    assert CANARY not in repr(seen)
    assert FORMAT in repr(seen)


def test_a_signature_covers_what_is_sealed(bench_of):
    bench = bench_of(**REQUIRE)

    def signed(params, job_id):
        job = Signable(job_id, "agt_1", STORE_CREDENTIAL, None, params, None, EXPIRES)
        return sign(OWNER, job).wire()

    for job_id, good in {"job_1": True, "job_2": False}.items():
        params = {"connectionId": "web", "credentials": bench.sealed(CREDENTIALS, job_id=job_id)}
        signature = signed(params, job_id)
        if not good:  # somebody else's credentials, sealed well, under the signature for these
            params["credentials"] = bench.sealed({"password": "of an attacker"}, job_id=job_id)
        row = bench.run(STORE_CREDENTIAL, params, job_id=job_id, signature=signature)
        assert (row.result["status"] == "success") is good, row.result
    assert bench.stored == {"web": CREDENTIALS}
