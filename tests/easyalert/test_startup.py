import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

PROGRAM = """
import os
from easyalert.startup import begin
settings = begin("poller")
import ctypes, logging
logging.getLogger("easyalert").info("started with %s", settings.agent_api_key.get_secret_value())
mask = os.umask(0)
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), oct(mask), settings.poll_interval)
"""


def run(tmp_path, **environment):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_begins_hardened_private_and_logging(tmp_path):
    done = run(tmp_path, AGENT_API_URL="https://example.com", AGENT_API_KEY="ea_agent_secret_key")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 0o77 5\n"
    assert "started with" in done.stderr
    assert "ea_agent_secret_key" not in done.stderr


def test_a_wrong_setting_is_one_sentence_and_its_own_exit_code(tmp_path):
    done = run(tmp_path, AGENT_API_URL="https://example.com", AGENT_API_KEY="ea_agent_secret_key", ADMIN_PORT="high")
    assert done.returncode == 2
    assert done.stderr.startswith("poller: ADMIN_PORT: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_what_is_missing_is_named(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2
    assert "AGENT_API_URL: is required" in done.stderr
    assert "AGENT_API_KEY: is required" in done.stderr
