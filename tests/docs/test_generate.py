"""The pages made from code say what the code says."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from controlplane.settings import ControlPlaneSettings
from docs.executor_pages import EXECUTORS_FOLDER, executor_pages
from docs.generate import settings_page
from docs.words import type_of
from easyalert.settings import AgentSettings
from workers.registry import Registry
from workers.sdk.parameters import Line

ROOT = Path(__file__).parents[2]


def rows(page):
    """Name → type, default, meaning."""
    found = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    return {cells[1].strip("`"): cells[2:5] for cells in found}


def test_the_settings_page_is_up_to_date():
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings_page(), "run scripts/docs"


def test_every_setting_of_both_sides_is_on_the_page():
    names = {name.upper() for name in AgentSettings.model_fields}
    names |= {f"EASYALERT_CP_{name.upper()}" for name in ControlPlaneSettings.model_fields}
    assert rows(settings_page()).keys() == names


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("AGENT_API_URL", "text", "required"),
        ("AGENT_API_KEY", "secret text", "required"),
        ("POLL_INTERVAL", "integer, ≥ 1", "`5`"),
        ("MAX_CONCURRENT_JOBS", "integer, ≥ 1, ≤ 50", "`5`"),
        ("ADMIN_PORT", "integer, ≥ 1, ≤ 65535", "`9191`"),
        ("ADMIN_TOKEN", "secret text", "none"),
        ("VAULT_PATH", "path", "none"),
        ("ALLOW_OS_RESTART", "boolean", "`false`"),
        ("STATE_DIR", "path", "`~/.easyalert`"),
        ("HTTP_ALLOWED_NETWORKS", "networks, comma-separated", "none"),
        ("EASYALERT_CP_LOG_LEVEL", "`DEBUG` or `INFO` or `WARNING` or `ERROR`", "`INFO`"),
    ],
)
def test_types_ranges_and_defaults(name, kind, default):
    assert rows(settings_page())[name][:2] == [kind, default]


def test_every_setting_has_a_meaning():
    assert all(len(cells[2]) > 10 for cells in rows(settings_page()).values())


def test_the_pages_of_the_executors_are_up_to_date():
    written = {page.name: page.read_text("utf-8") for page in EXECUTORS_FOLDER.glob("*.md")}
    assert written == executor_pages(), "run scripts/docs"


@pytest.mark.parametrize("kind", Registry(foreign={}).kinds())
def test_every_parameter_and_action_has_a_meaning(kind):
    executor = Registry(foreign={}).executor(kind)
    models = [executor.connection] if executor.connection else []
    for name, spec in executor.declared().items():
        assert spec.handler.__doc__, f"{kind}.{name} has no docstring"
        models.append(spec.parameters)
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} of {kind} has no description"


def test_of_two_lengths_the_one_that_counts_is_shown():
    """A field may narrow what its type allows, or seem to widen it."""

    class Sample(BaseModel):
        narrowed: Annotated[Line, Field(max_length=10)]
        widened: Annotated[Line, Field(max_length=9_999)]

    assert type_of(Sample.model_fields["narrowed"]) == "text, at most 10 long"
    assert type_of(Sample.model_fields["widened"]) == "text, at most 4096 long"
