"""Reading everything the product keeps and answers, as `(where, bytes)`."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

Found = Iterator[tuple[str, bytes]]


def files(folder: Path) -> Found:
    """Every file below a folder, whatever it is: databases, their logs, spools, sockets left out."""
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):  # what vanishes while we look is temporary; the watch sees the rest
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder)), path.read_bytes()
            yield f"the name {path.relative_to(folder)}", str(path.relative_to(folder)).encode()


def rows(database: Path) -> Found:
    """Every value of every row of an SQLite database: as bytes of the file they may be torn over its pages."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            for number, row in enumerate(connection.execute(f'SELECT * FROM "{name}"')):
                for value in row:
                    if isinstance(value, str | bytes):
                        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
                        yield f"{database.name}, table {name}, row {number}", data


def copies(database: Path, folder: Path) -> Found:
    """What an operator's backup holds."""
    folder.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        online, vacuumed = folder / "online.sqlite3", folder / "vacuumed.sqlite3"
        vacuumed.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(online)) as target:
            connection.backup(target)
        connection.execute("VACUUM INTO ?", (str(vacuumed),))
    for copy in (online, vacuumed):
        yield f"{copy.name} of {database.name}", copy.read_bytes()


def redis_keys(client: Redis) -> Found:
    """Every key by name, as the dump of it, and as its members: a dump may be compressed."""
    members = {
        b"string": lambda key: [client.get(key)],
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": lambda key: list(client.smembers(key)),
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"hash": lambda key: [part for pair in client.hgetall(key).items() for part in pair],
        b"stream": lambda key: [part for _, entry in client.xrange(key) for pair in entry.items() for part in pair],
    }
    for key in client.scan_iter(count=1000):
        where = f"redis key {key!r}"
        yield where, key
        for member in members[client.type(key)](key):
            yield where, member or b""
        yield f"{where}, dumped", client.dump(key) or b""


def redis_logs(client: Redis) -> Found:
    """What the server itself remembers; needs all rights."""
    yield "redis SLOWLOG", repr(client.execute_command("SLOWLOG", "GET", "-1")).encode()
    yield "redis ACL LOG", repr(client.execute_command("ACL", "LOG")).encode()
    yield "redis CLIENT LIST", repr(client.client_list()).encode()
    yield "redis INFO", repr(client.info("all")).encode()


def answers(client: httpx.Client, document: Mapping[str, Any], known: Mapping[str, list[str]]) -> Found:
    """Every GET an OpenAPI document names, with every known value of its path's parameters; headers too."""
    for path, operations in document["paths"].items():
        if "get" not in operations:
            continue
        for filled in _filled(path, known):
            for query in ("", "?format=text", "?limit=200"):
                answer = client.get(filled + query)
                head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
                yield f"GET {filled}{query}", head.encode() + b"\n" + answer.content
                if answer.headers.get("content-type", "").startswith("application/json"):
                    with contextlib.suppress(ValueError):
                        yield (
                            f"GET {filled}{query}, parsed",
                            repr(json.loads(answer.content)).encode("utf-8", "replace"),
                        )
    yield "the description", json.dumps(document).encode()


def _filled(path: str, known: Mapping[str, list[str]]) -> list[str]:
    filled = [path]
    for name, values in known.items():
        if f"{{{name}}}" in path:
            filled = [one.replace(f"{{{name}}}", value) for one in filled for value in values]
    return filled
