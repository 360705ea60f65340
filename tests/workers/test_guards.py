from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from easyalert.errors import PolicyUnusable
from easyalert.protocol.signing import key_id
from workers.guards import NOTE, Guards, forget

RAW = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
TEXT = base64.b64encode(RAW).decode()
ALLOW = '[[allow]]\nname = "a"\nactions = ["*"]\n'


@pytest.fixture
def home(make_home):
    return make_home("https://control.example")


@pytest.fixture
def journal(home):
    with home.journal() as journal:
        yield journal


@pytest.fixture
def guards(home):
    return Guards.of(home.settings)


def standing(guards, journal):
    """What the bookkeeper notes; noted."""
    found = guards.standing(journal)
    journal.leave_note(NOTE, found)
    return found


def test_without_a_file_everything_is_allowed(guards, journal, home):
    assert guards.policy(journal) is None
    assert standing(guards, journal) == {
        "state": "ok",
        "sentence": None,
        "file": str(home.settings.policy_file),
        "inForce": False,
        "rules": 0,
        "dryRun": False,
        "digest": None,
        "signatures": "off",
    }


def test_a_policy_comes_changes_and_breaks_while_the_workers_run(guards, journal, home):
    file = home.settings.policy_file
    file.write_text(ALLOW)
    file.chmod(0o600)
    found = standing(guards, journal)
    assert (found["state"], found["inForce"], found["rules"], found["dryRun"]) == ("ok", True, 1, False)
    file.write_text(f"dry_run = true\n{ALLOW}")
    found = standing(guards, journal)
    assert (found["state"], found["dryRun"]) == ("dry run: nothing is run", True)
    file.write_text("no = 1")
    found = standing(guards, journal)
    assert found["state"] == "broken: every job is refused"
    assert "line 1" in found["sentence"]
    file.write_text(ALLOW)
    file.chmod(0o666)
    assert "chmod go-w" in standing(guards, journal)["sentence"]


def test_a_policy_that_vanishes_opens_nothing_until_the_workers_start_again(guards, journal, home):
    file = home.settings.policy_file
    file.write_text(ALLOW)
    file.chmod(0o600)
    standing(guards, journal)
    file.unlink()
    late = Guards.of(home.settings)  # of a worker that has never seen the file
    for each in (guards, late):
        with pytest.raises(PolicyUnusable, match="is gone: put it back, or restart"):
            each.policy(journal)
        assert standing(each, journal)["state"] == "broken: every job is refused"
    forget(journal)
    assert late.policy(journal) is None


def test_a_policy_that_came_and_went_before_anybody_noted_it_binds_who_has_seen_it(guards, journal, home):
    file = home.settings.policy_file
    file.write_text(ALLOW)
    file.chmod(0o600)
    assert guards.policy(journal) is not None
    file.unlink()
    with pytest.raises(PolicyUnusable, match="is gone"):
        guards.policy(journal)


def test_a_file_that_was_named_has_to_exist(make_home):
    home = make_home("https://c.example", policy_file="/nonexistent/policy.toml")
    with home.journal() as journal, pytest.raises(PolicyUnusable, match="does not exist"):
        Guards.of(home.settings).policy(journal)


def test_trusted_keys_come_from_the_setting_and_the_file(make_home, tmp_path):
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    file = tmp_path / "keys"
    file.write_text(base64.b64encode(other).decode())
    file.chmod(0o600)
    home = make_home(
        "https://c.example",
        job_signatures="warn",
        job_signature_keys=TEXT,
        job_signature_keys_file=str(file),
    )
    guards = Guards.of(home.settings)
    assert guards.keys() == {key_id(RAW): RAW, key_id(other): other}
    file.write_text("")
    with pytest.raises(PolicyUnusable, match="names no key"):
        guards.keys()


@pytest.mark.parametrize(
    ("mode", "state"), [("require", "broken: every job is refused"), ("warn", "trusted keys are broken")]
)
def test_broken_keys_are_said(make_home, tmp_path, mode, state):
    home = make_home(
        "https://c.example",
        job_signatures=mode,
        job_signature_keys_file=str(tmp_path / "no"),
        job_signature_audience="a",
    )
    with home.journal() as journal:
        found = Guards.of(home.settings).standing(journal)
    assert (found["state"], found["signatures"]) == (state, mode)
    assert "does not exist" in found["sentence"]


def test_whom_signed_jobs_may_be_for(make_home):
    told = make_home("https://c.example", job_signatures="warn", job_signature_keys=TEXT)
    with told.journal() as journal:
        guards = Guards.of(told.settings)
        assert guards.names(journal) == frozenset()
        journal.leave_note("registration", {"agentId": "agt_9"})
        assert guards.names(journal) == {"agt_9"}
        own = Guards.of(
            make_home(
                "https://c.example",
                job_signatures="require",
                job_signature_keys=TEXT,
                job_signature_audience="agt_1, pool:default",
            ).settings
        )
        assert own.names(journal) == {"agt_1", "pool:default"}, "the owner's word, not the control plane's"
