"""docs/isolation.md agrees with what the agent says of itself; tests/system/test_isolation.py measures it."""

from easyalert.settings import AgentSettings
from tests.docs.isolation_table import PAGE, table
from workers.isolation import OF_ACCOUNT, OF_ROOT


def test_what_none_exposes_is_what_the_agent_reports():
    columns = table()
    assert columns["none, an account of its own"] == set(OF_ACCOUNT)
    assert columns["none, as root"] == {*OF_ACCOUNT, *OF_ROOT}
    assert columns["userns"] == columns["user"] == set()


def test_the_limits_are_those_of_the_settings():
    for name in ("script_max_cpu_seconds", "script_max_memory_mb", "script_max_open_files", "script_max_processes"):
        assert f"`{name.upper()}` ({AgentSettings.model_fields[name].default})" in PAGE
