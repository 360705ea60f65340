from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zlib

import pytest

from easyalert.queues import agent_queue, enqueue
from tests.cli.test_dashboard import page

pytestmark = pytest.mark.system

__all__ = ["page"]


class Runs:
    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return (os.mkdir, (self.folder,))


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "it-ran"


def test_no_page_runs_what_somebody_has_put_into_redis(page, embedded, mark):
    with embedded.client() as client:
        queue = agent_queue(client)
        keys = [f"job_{field}" for field in ("data", "plain", "result", "meta", "stream")]
        enqueue(queue, [(key, "x", 60) for key in keys])
        hostile = pickle.dumps(Runs(mark))
        client.hset("rq:job:job_data", "data", zlib.compress(hostile))
        client.hset("rq:job:job_plain", "data", hostile)
        client.hset("rq:job:job_result", "result", hostile)
        client.hset("rq:job:job_meta", "meta", hostile)
        client.xadd("rq:results:job_stream", {"type": 1, "return_value": hostile, "created_at": "1"})
        for key in keys:
            for path in (f"/0/data/job/{key}.json", f"/0/view/job/{key}"):
                page.http.get(path)
        page.http.get("/0/data/jobs/easyalert/queued/8/asc/1.json")
        page.http.get("/0/data/workers.json")
    assert not mark.exists()
    assert page.process.poll() is None


def test_the_attack_is_real(mark, embedded):
    """The stock serializer, asked for the same bytes, runs them."""
    from rq.serializers import DefaultSerializer

    DefaultSerializer.loads(pickle.dumps(Runs(mark)))
    assert mark.exists()


def test_every_name_of_rqs_own_serializer_is_ours():
    code = (
        "from cli.dashboard_server import disarm; disarm()\n"
        "from rq.serializers import resolve_serializer\n"
        "from rq_dashboard.web import config\n"
        "print({resolve_serializer(name).__name__ for name in (None, '', 'pickle', 'rq.serializers.DefaultSerializer')},\n"
        "      config.serializer.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "{'PrimitiveSerializer'} PrimitiveSerializer\n", done.stderr
