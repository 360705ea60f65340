"""What the container files repeat from the code must stay equal to it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cli.embedded_redis import AGENT_RULES, VIEWER_RULES
from easyalert.settings import AgentSettings
from workers.executors.script import INTERPRETERS

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def redis_arguments() -> list[str]:
    """The words after `redis-server` in the compose file, as the server gets them."""
    block = COMPOSE.split("      - redis-server\n")[1].split("    read_only:")[0]
    words = (line.strip().removeprefix("- ") for line in block.splitlines() if line.strip().startswith("- "))
    return [word.strip('"') for word in words]


@pytest.mark.parametrize(("user", "rules"), [("agent", AGENT_RULES), ("viewer", VIEWER_RULES)])
def test_redis_accounts_have_the_rules_of_the_embedded_server(user, rules):
    words = redis_arguments()
    begin = words.index(user) + 3  # the name, `on`, the password
    assert words[begin : begin + len(rules.split())] == rules.split()
    rest = words[begin + len(rules.split()) :]
    assert rest[:1] in ([], ["--user"])


def test_without_an_account_nobody_gets_in():
    words = redis_arguments()
    assert words[words.index("default") + 1] == "off"


def test_the_image_holds_every_package_of_ours():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for package in (name.rstrip("*") for name in packages):
        assert f"COPY {package}/ {package}/" in DOCKERFILE
        assert f"!{package}" in ignored


def test_the_image_has_the_interpreters_of_scripts():
    """Defect D7. PowerShell is no package of the distribution; docs/executors/script.md says how it is added."""
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    installed = last_stage.partition("--no-install-recommends")[2].partition("&&")[0].replace("\\", " ").split()
    programs = {interpreter.program for interpreter in INTERPRETERS.values()}
    assert programs - {"pwsh"} <= set(installed)
    assert programs == {"bash", "python3", "pwsh"}


def test_the_images_health_check_looks_at_the_agents_heartbeat_file():
    settings = AgentSettings(AGENT_API_URL="http://127.0.0.1:1", AGENT_API_KEY="k", STATE_DIR="/s")
    assert f"$STATE_DIR/{settings.heartbeat_file.name}" in DOCKERFILE


def test_every_setting_given_to_the_agent_exists():
    block = COMPOSE.split('command: ["easyalert-agent", "run"]')[1].split("tmpfs:")[0]
    names = re.findall(r"^ {6}([A-Z_]+):", block, re.MULTILINE)
    assert len(names) >= 5
    assert {name.lower() for name in names} <= set(AgentSettings.model_fields) | {
        str(field.validation_alias).lower() for field in AgentSettings.model_fields.values()
    }


@pytest.mark.parametrize("service", ["controlplane", "agent", "rq-dashboard"])
def test_our_containers_are_closed(service):
    """Read-only root, no capabilities, no new privileges: once, in the part they share."""
    shared = COMPOSE.split("x-ours: &ours")[1].split("services:")[0]
    assert "read_only: true" in shared
    assert "cap_drop: [ALL]" in shared
    assert "no-new-privileges:true" in shared
    assert COMPOSE.split(f"\n  {service}:\n")[1].lstrip().startswith("<<: *ours")


def test_the_dashboard_is_the_one_that_unpickles_nothing_but_primitives():
    block = COMPOSE.split("\n  rq-dashboard:\n")[1]
    assert 'command: ["python", "-I", "-m", "cli.dashboard_server", ' in block
    assert '"rq-dashboard", "--bind"' not in COMPOSE
