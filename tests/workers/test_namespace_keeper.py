from __future__ import annotations

import pytest

from tests.workers.isolated import home, isolated, run

pytestmark = pytest.mark.system

__all__ = ["home"]


def test_files_in_folders_of_others_are_empty_and_named_folders_too(home):
    (home / "other").mkdir()
    (home / "other/secret").write_text("secret")
    (home / "key").write_text("secret")
    found = isolated(home, script_hidden_paths=f"{home}/other,{home}/key,{home}/not-there")
    result = run(home, found, f"cat {home}/cwd/.env {home}/key; ls -A {home}/other; echo x > {home}/key; ls -A .")
    assert "secret" not in str(result)
    assert "Read-only" in result["output"]["stderr"]
    assert (home / "key").read_text() == "secret"
