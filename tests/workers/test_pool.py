from __future__ import annotations

import pytest

pytestmark = pytest.mark.system


def test_a_script_goes_from_row_to_result(make_chain):
    chain = make_chain()
    key = chain.bash("echo out; echo err >&2")
    result = chain.result(key)
    assert result["status"] == "success"
    assert result["exitCode"] == 0
    assert result["output"] == {"stdout": "out\n", "stderr": "err\n", "truncated": False}
    assert chain.pool.terminate() == 0
