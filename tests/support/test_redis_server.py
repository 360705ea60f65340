from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

pytestmark = pytest.mark.system


def test_it_is_a_real_one_and_can_die(redis_server):
    with redis_server.client() as client:
        client.set("a", "1")
        assert client.get("a") == b"1"
        redis_server.flush()
        assert client.get("a") is None
    redis_server.kill()
    with redis_server.client() as client, pytest.raises(RedisConnectionError):
        client.ping()
    redis_server.start()
    with redis_server.client() as client:
        assert client.ping()
