from __future__ import annotations

import pytest

from tests.scripts.conftest import ROOT

SCRIPT = str(ROOT / "scripts" / "install-packages")
KNOWS_REDIS_ONLY = (
    'case "$2" in redis-server | shellcheck) echo "  Candidate: 1.0" ;; *) echo "  Candidate: (none)" ;; esac'
)


@pytest.fixture
def apt(host):
    host.program("apt-get")
    host.program("apt-cache", KNOWS_REDIS_ONLY)
    return host


def installed(host):
    return [call.split("--no-install-recommends ")[1] for call in host.calls if "--no-install-recommends" in call]


def test_root_installs_what_this_release_has_and_says_so(apt):
    apt.program("id", "echo 0")
    done = apt.run(SCRIPT, "a server is missing", "valkey-server|redis-server", "shellcheck")
    assert done.returncode == 0, done.stderr
    assert installed(apt) == ["redis-server shellcheck"]
    assert "a server is missing. Installing it:" in done.stderr
    assert done.stderr.index("Installing it") < done.stderr.index("apt-get -o")


def test_sudo_without_a_password_is_used(apt, as_user):
    apt.program("sudo", 'shift; exec "$@"')
    done = apt.run(SCRIPT, "x is missing", "redis-server")
    assert done.returncode == 0, done.stderr
    assert "through sudo" in done.stderr
    assert installed(apt)[-1] == "redis-server"


@pytest.mark.parametrize("sudo", [None, "exit 1"])
def test_without_rights_the_exact_command_is_named_and_nothing_is_run(apt, as_user, sudo):
    if sudo:
        apt.program("sudo", sudo)
    done = apt.run(SCRIPT, "x is missing", "valkey-server|redis-server", "shellcheck")
    assert done.returncode == 3
    assert "apt-get update && apt-get install -y --no-install-recommends redis-server shellcheck" in done.stderr
    assert not [call for call in apt.calls if call.startswith("apt-get")]


def test_before_the_first_update_the_package_is_named_that_every_release_has(apt, as_user):
    apt.program("apt-cache", "exit 100")
    done = apt.run(SCRIPT, "x is missing", "valkey-server|redis-server")
    assert "--no-install-recommends redis-server\n" in done.stderr


def test_a_system_without_apt_is_told_what_is_needed(host, as_user):
    done = host.run(SCRIPT, "x is missing", "redis-server")
    assert done.returncode == 3
    assert "has no apt-get" in done.stderr
    assert "redis-server" in done.stderr


def test_a_failing_apt_is_shown_with_its_own_words(apt):
    apt.program("id", "echo 0")
    apt.program("apt-get", "echo 'E: no space left'; exit 100")
    done = apt.run(SCRIPT, "x is missing", "redis-server")
    assert done.returncode == 1
    assert "E: no space left" in done.stderr
