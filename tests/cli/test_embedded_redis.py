from __future__ import annotations

import hashlib

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from rq import SimpleWorker

from cli import embedded_redis
from easyalert.errors import ConfigurationError
from easyalert.queues import PrimitiveSerializer, agent_queue, enqueue, queued_keys, registered_workers


def program(folder, name):
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_valkey_before_redis(tmp_path):
    redis = program(tmp_path, "redis-server")
    assert embedded_redis.find_server(str(tmp_path)) == str(redis)
    valkey = program(tmp_path, "valkey-server")
    assert embedded_redis.find_server(str(tmp_path)) == str(valkey)


def test_neither_names_the_command(tmp_path):
    with pytest.raises(ConfigurationError, match=r"REDIS_URL.*sudo apt-get install -y .*redis-server"):
        embedded_redis.find_server(str(tmp_path))


def test_the_configuration_holds_no_password(tmp_path, settings_of):
    settings = settings_of(tmp_path / "a 'b\" c")
    settings.run_dir.mkdir(parents=True)
    text = embedded_redis.write_configuration(settings).read_text()
    for path in (settings.redis_password_path, settings.redis_viewer_password_path):
        password = path.read_text()
        assert len(password) >= 40
        assert password not in text
        assert hashlib.sha256(password.encode()).hexdigest() in text
        assert path.stat().st_mode & 0o777 == 0o600
    assert (settings.run_dir / "redis.conf").stat().st_mode & 0o777 == 0o600
    assert "port 0" in text.splitlines()
    before = settings.redis_password_path.read_text()
    embedded_redis.write_configuration(settings)
    assert settings.redis_password_path.read_text() != before


@pytest.mark.system
class TestAccounts:
    def test_nobody_without_a_password(self, embedded):
        with Redis(unix_socket_path=str(embedded.settings.redis_socket)) as client, pytest.raises(AuthenticationError):
            client.ping()

    def test_no_port_and_a_private_socket(self, embedded):
        import psutil

        assert embedded.settings.redis_socket.stat().st_mode & 0o777 == 0o700
        listening = psutil.Process(embedded.process.pid).net_connections(kind="inet")
        assert listening == []

    def test_the_agent_can_do_all_that_rq_does(self, embedded):
        with embedded.client() as client:
            queue = agent_queue(client)
            assert enqueue(queue, [("job_1", "script.bash job_1", 300)]) == 1
            assert queued_keys(queue) == {"job_1"}
            worker = SimpleWorker([queue], connection=client, serializer=PrimitiveSerializer)
            worker.register_birth()
            assert registered_workers(queue) == 1
            worker.register_death()
            queue.empty()
            assert client.info("server")["redis_version"]

    @pytest.mark.parametrize(
        "command",
        [
            ("CONFIG", "SET", "dir", "/tmp"),
            ("FLUSHALL",),
            ("SHUTDOWN", "NOSAVE"),
            ("DEBUG", "SLEEP", "1"),
            ("REPLICAOF", "127.0.0.1", "1"),
            ("ACL", "LIST"),
            ("MODULE", "LIST"),
            ("KEYS", "*"),
        ],
    )
    def test_but_nothing_dangerous(self, embedded, command):
        with embedded.client() as client, pytest.raises(ResponseError, match=r"no permissions|not allowed"):
            client.execute_command(*command)

    @pytest.mark.parametrize(
        "command",
        [
            ("SET", "a", "1"),
            ("DEL", "rq:queue:easyalert"),
            ("EVAL", "return redis.call('set', 'a', '1')", "0"),
            ("PUBLISH", "rq:pubsub:w", "stop"),
            ("SUBSCRIBE", "rq:pubsub:w"),
            ("CLIENT", "KILL", "TYPE", "normal"),
            ("FLUSHALL",),
            ("ACL", "LIST"),
            ("CONFIG", "GET", "*"),
        ],
    )
    def test_the_viewer_can_only_read(self, embedded, command):
        with embedded.viewer() as client:
            assert client.ping()
            assert client.smembers("rq:queues") == set()
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


@pytest.mark.system
def test_no_command_that_writes_runs_or_listens_is_allowed_to_the_viewer(redis_server):
    """Every command this server has, of whatever version it is."""
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "viewer", "on", ">p", *embedded_redis.VIEWER_RULES.split())
        client.execute_command("ACL", "SETUSER", "agent", "on", ">p", *embedded_redis.AGENT_RULES.split())
        categories = ("write", "dangerous", "admin", "scripting", "pubsub")
        # INFO, and nothing else, is both dangerous and allowed
        names = {name.decode() for category in categories for name in client.execute_command("ACL", "CAT", category)}
        denied, allowed = set(), set()
        for name in names - {"info"}:
            words = name.split("|")
            details = client.execute_command("COMMAND", "INFO", name)
            arity = abs(next(iter(details.values()))["arity"]) if details else len(words)
            answer = client.execute_command("ACL", "DRYRUN", "viewer", *words, *["1"] * (arity - len(words)))
            (allowed if answer in {b"OK", "OK", True} else denied).add(name)
        assert len(denied) > 150
        assert allowed == set()
        assert client.execute_command("ACL", "DRYRUN", "viewer", "hgetall", "rq:job:x") in {b"OK", "OK", True}
