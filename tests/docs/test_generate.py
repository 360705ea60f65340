"""The pages made from code say what the code says."""

import importlib.util
from pathlib import Path

import pytest

from controlplane.settings import ControlPlaneSettings
from easyalert.settings import AgentSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(page):
    """Name → type, default, meaning."""
    found = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    return {cells[1].strip("`"): cells[2:5] for cells in found}


def test_the_settings_page_is_up_to_date(generator):
    assert (ROOT / "docs/settings.md").read_text("utf-8") == generator.settings_page(), "run scripts/docs"


def test_every_setting_of_both_sides_is_on_the_page(generator):
    names = {name.upper() for name in AgentSettings.model_fields}
    names |= {f"EASYALERT_CP_{name.upper()}" for name in ControlPlaneSettings.model_fields}
    assert rows(generator.settings_page()).keys() == names


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
def test_types_ranges_and_defaults(generator, name, kind, default):
    assert rows(generator.settings_page())[name][:2] == [kind, default]


def test_every_setting_has_a_meaning(generator):
    assert all(len(cells[2]) > 10 for cells in rows(generator.settings_page()).values())
