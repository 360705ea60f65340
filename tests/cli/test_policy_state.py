import pytest

from cli.policy_state import line, policy_state

NOTE = {
    "state": "dry run: nothing is run", "sentence": None, "file": "/etc/p.toml", "inForce": True, "rules": 4,
    "dryRun": True, "digest": "x", "signatures": "warn",
}  # fmt: skip


@pytest.fixture
def settings(settings_of, tmp_path):
    return settings_of(tmp_path)


def test_a_running_agents_own_word_counts(settings):
    found = policy_state(settings, NOTE, running=True)
    assert (found["state"], found["rules"], found["dryRun"], found["signatures"]) == (
        "dry run: nothing is run",
        4,
        True,
        "warn",
    )
    assert line(found) == "dry run: nothing is run; signatures: warn"
    assert policy_state(settings, NOTE, running=False)["inForce"] is False


def test_else_the_file_is_read(settings, tmp_path):
    assert line(policy_state(settings, {}, running=True)) == "none: everything is allowed"
    file = tmp_path / "policy.toml"
    file.write_text('[[allow]]\nname = "a"\nactions = ["*"]\n')
    file.chmod(0o600)
    assert line(policy_state(settings, {}, running=False)) == f"{file}, 1 rules"
    file.write_text("dry_run = true")
    assert policy_state(settings, {}, running=False)["dryRun"]
    file.write_text("no = 1")
    found = policy_state(settings, {}, running=False)
    assert line(found) == "broken: every job is refused"
    assert "line 1" in found["error"]
