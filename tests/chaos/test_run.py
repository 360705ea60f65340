from __future__ import annotations

import json

import pytest

from chaos.run import Options, Run, as_table
from tests.support.require import require_program

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def test_a_short_run_keeps_every_promise_and_has_really_struck(short_dir):
    require_program("redis-server", "valkey-server", package="redis-server")
    said: list[str] = []
    verdict = Run(Options(seed=1, minutes=0.15, jobs=30, agents=1), short_dir, said.append).run()
    assert verdict.violations == []
    assert sum(verdict.figures["faults"].values()) >= 3
    assert sum(verdict.figures["ended"].values()) == verdict.figures["jobs"] == 30
    assert verdict.figures["exits"]["one"][0] == 1, "the last stop was in good order"
    assert any("submitted" in line for line in said), "it says how far it is"
    json.dumps(verdict.figures)
    assert "doubleEffects" in as_table(verdict)
    history = json.loads((short_dir / "history.json").read_text())
    assert len(history["marks"]) >= 30
