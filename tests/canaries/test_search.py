"""What looks for canaries finds them: each spelling, in each kind of store. Else the sweep could not fail."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.server
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import httpx
import pytest

from easyalert import spellings
from tests.canaries import stores
from tests.canaries.search import Search, everything
from tests.canaries.secrets import Canaries
from tests.canaries.watch import Watch, descendants, process_list
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def canaries():
    made = Canaries()
    made("special characters")
    made("many lines", lines=True)
    made.plain("a token")
    made.adopt(
        "an API key", "ea_agent_" + base64.b64encode(os.urandom(24)).decode().replace("+", "p").replace("/", "s")
    )
    return made


@pytest.fixture(scope="module")
def search(canaries):
    return Search(canaries)


@pytest.fixture(scope="module")
def forms(canaries):
    """Those that stand alone; a wrapped form's last line may be too short to be told, and never comes without the others."""
    found = {}
    for label, secret in canaries.all().items():
        for form in everything(secret):
            if not any(form in other and form != other for other in everything(secret)):
                found[form] = label
    assert len(found) > 100
    return found


def test_every_spelling_is_found_and_most_are_named(search, canaries, monkeypatch):
    monkeypatch.setattr(spellings, "PIECE_BYTES", 1_000_000)  # whole forms, as they would be printed
    for label, secret in canaries.all().items():
        every = everything.__wrapped__(secret)
        # RQ and people wrap base64 and hex: a line without the core is told by the whole it belongs to
        whole = b"\n".join(sorted(every))
        missed = {form for form in every if not search.holds(form)}
        assert len(missed) < len(every) / 4, label
        for form in missed:
            assert any(form in other and search.holds(other) for other in wholes(secret)), (label, form)
        assert [finding for finding in search.find("all", whole) if label in finding.label], label


def wholes(secret):
    """The encodings that are wrapped, unwrapped."""
    for text in {secret, *secret.splitlines(), *(joint.join(secret.splitlines()) for joint in ("\r\n", "\r", " ", ""))}:
        for charset in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
            raw = text.encode(charset)
            for skipped in range(3):
                encoded = base64.b64encode(bytes(skipped) + raw)
                yield from (encoded, base64.urlsafe_b64encode(bytes(skipped) + raw), encoded.replace(b"=", b"%3D"))
            yield from (raw.hex().encode(), raw.hex().upper().encode())


def test_nothing_is_found_where_nothing_is(search):
    assert list(search.find("noise", os.urandom(4_000_000))) == []
    assert list(search.find("noise", base64.b64encode(os.urandom(4_000_000)))) == []


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda data: zlib.compress(data, 0), lambda data: zlib.compress(data, 9)]
)
def test_compressed_content_is_unpacked_wherever_it_begins(search, forms, pack):
    for form in sorted(forms)[::7]:
        assert search.holds(b"before" + pack(b"x" * 100 + form) + b"after") == search.holds(form)
    assert search.holds(gzip.compress(zlib.compress(next(iter(found(search, forms))))))


def found(search, forms):
    return [form for form in forms if search.holds(form)]


# ---- stores ---------------------------------------------------------------------------------------------------------


def count(search, read, forms):
    """How many of the forms are found in what a store gives out."""
    data = [bytes(piece) for _, piece in read]
    return sum(any(form in piece for piece in data) and any(search.holds(piece) for piece in data) for form in forms)


def test_in_files_of_any_name_and_depth(search, forms, tmp_path):
    plants = found(search, forms)
    for number, form in enumerate(plants):
        path = tmp_path / f"a{number}" / ".hidden" / "core.1"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\0" * 100 + form)
    assert sum(search.holds(data) for _, data in stores.files(tmp_path)) == len(plants)


def test_in_a_files_name(search, canaries, tmp_path):
    (tmp_path / f"job-{canaries.made['a token']}").touch()
    assert any(search.holds(data) for _, data in stores.files(tmp_path))


@pytest.mark.parametrize("place", ["text", "blob", "log", "freed", "overflow"])
def test_in_a_database_its_log_and_its_freed_pages(search, forms, tmp_path, place):
    path = tmp_path / "x.sqlite3"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("PRAGMA secure_delete = off")  # some builds overwrite what is deleted
        database.execute("CREATE TABLE t (value)")
        for form in found(search, forms):
            padding = b"x" * (3500 if place == "overflow" else 10)
            data = padding + form
            database.execute(
                "INSERT INTO t VALUES (?)", (data.decode("latin-1").encode().decode() if place == "text" else data,)
            )
        if place == "freed":
            database.execute("PRAGMA wal_checkpoint(truncate)")
            database.execute("DELETE FROM t")
            database.execute("PRAGMA wal_checkpoint(truncate)")
        raw = [name for name, data in stores.files(tmp_path) if search.holds(data)]
        if place == "log":
            assert raw == ["x.sqlite3-wal"]
        if place == "freed":
            assert raw == ["x.sqlite3"]
            assert not any(search.holds(data) for _, data in stores.rows(path))
        else:
            wanted = len(found(search, forms))
            assert sum(search.holds(data) for _, data in stores.rows(path)) >= wanted * (0.9 if place == "text" else 1)
            assert all(search.holds(data) for _, data in stores.copies(path, tmp_path / "copies"))


def test_in_every_type_of_redis_key_its_dump_and_its_logs(search, forms, redis_server):
    with redis_server.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("slowlog-max-len", 100_000)
        writers = {
            "string": client.set,
            "list": client.rpush,
            "set": client.sadd,
            "zset": lambda key, form: client.zadd(key, {form: 1}),
            "hash": lambda key, form: client.hset(key, form, form),
            "stream": lambda key, form: client.xadd(key, {form: form}),
            "packed": lambda key, form: client.hset(key, "data", zlib.compress(form * 5)),
        }
        for kind, write in writers.items():
            for number, form in enumerate(found(search, forms)[::6]):
                client.flushall()
                write(f"{kind}{number}", form)
                assert any(search.holds(data) for _, data in stores.redis_keys(client)), (kind, form)
        client.flushall()
        assert not any(search.holds(data) for _, data in stores.redis_keys(client))
        assert any("SLOWLOG" in where for where, data in stores.redis_logs(client) if search.holds(data))
        client.set("a" + found(search, forms)[0].decode("latin-1"), 1)
        assert any(search.holds(data) for _, data in stores.redis_keys(client))


def test_in_a_command_line_and_an_environment(search, forms):
    plants = [form for form in found(search, forms) if b"\0" not in form]
    for form in plants[::40]:
        for arguments, environment in (([form], {}), ([], {b"X": form})):
            with subprocess.Popen([b"sleep", b"30", *arguments] if not arguments else [sys.executable, "-c", "input()", *arguments],
                                  env={b"PATH": os.environb[b"PATH"], **environment}, stdin=subprocess.PIPE) as process:  # fmt: skip
                try:
                    assert process.pid in set(descendants(os.getpid()))
                    eventually(
                        lambda pid=process.pid: any(search.holds(data) for data in process_list(pid)),
                        what="it in the list",
                    )
                finally:
                    process.kill()


def test_the_watch_sees_a_process_that_lives_for_a_moment(search, canaries):
    watch = Watch(search)
    token = canaries.made["a token"]
    script = f"X={token} {sys.executable} -c 'input()'; true"
    with (
        subprocess.Popen([sys.executable, "-c", "input()", token], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL),
        subprocess.Popen(["sh"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as shell,
    ):
        shell.stdin.write(f"{script}\n".encode())
        shell.stdin.flush()
        # the shell's own command line does not show it: the second one is a grandchild's environment
        eventually(lambda: len(watch.findings) >= 2, what="both in the watch")
    assert {finding.label for finding in watch.stop()} == {"a token"}


def test_in_an_answer_its_headers_and_what_json_hides(search, canaries):
    token, special = canaries.made["a token"], canaries.made["special characters"]
    bodies = {
        "/plain": token.encode(),
        "/items/7": ('"' + "".join(f"\\u{ord(c):04x}" for c in special) + '"').encode(),
        "/head": b"{}",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            path = self.path.partition("?")[0]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if path == "/head":
                self.send_header("X-Token", token)
            self.end_headers()
            self.wfile.write(bodies[path])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}", trust_env=False) as client:
            document = {
                "paths": {path: {"get": {}} for path in ("/plain", "/items/{item_id}", "/head")}
                | {"/write": {"post": {}}}
            }
            hits = {
                where.partition("?")[0]
                for where, data in stores.answers(client, document, {"item_id": ["7"]})
                if search.holds(data)
            }
        server.shutdown()
    assert {hit.partition(",")[0] for hit in hits} == {"GET /plain", "GET /items/7", "GET /head"}


def test_in_a_core_file_which_a_program_that_is_not_hardened_leaves(search, canaries, tmp_path):
    """Where the system writes them as files; where it pipes them elsewhere, that the program would have one is seen."""
    code = "import os, sys, signal\n{harden}\nsecret = sys.stdin.read()\nos.kill(os.getpid(), signal.SIGABRT)"
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]

    def dumped(harden: str) -> bool:
        before = set(tmp_path.iterdir())
        done = subprocess.run(
            [sys.executable, "-c", code.format(harden=harden)],
            input=canaries.made["a token"].encode(), cwd=tmp_path, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        )  # fmt: skip
        assert done.returncode < 0
        return bool(set(tmp_path.iterdir()) - before)

    assert not dumped("from easyalert.hardening import harden; harden()")
    if hard != 0 and Path("/proc/sys/kernel/core_pattern").read_text().strip() in {"core", "core.%p"}:
        assert dumped("")
        assert any(search.holds(data) for _, data in stores.files(tmp_path))
