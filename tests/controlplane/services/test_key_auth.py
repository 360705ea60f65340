import pytest

from controlplane.services import agents, key_auth, keys
from controlplane.services.errors import ThrottledError, UnauthorizedError
from controlplane.services.key_auth import CACHE_S, FAILURES_BURST, KeyCache


@pytest.fixture
def key():
    return keys.new_agent_key()


@pytest.fixture
def agent_id(world, key):
    hashed = keys.hash_key(key)
    return world.write(lambda s, now: agents.create(s, now, name="a", key=key, key_hash=hashed).id)


def find(world, cache, key):
    return world.read(lambda s, now: key_auth.find_key(s, cache, key, now))


def authenticate(world, cache, key):
    check = find(world, cache, key)
    return check.identity if check.verified else key_auth.verify_slowly(cache, key, check, world.clock.now())


def wrong_secret(key):
    """Another secret under the same look-up part, with a good checksum."""
    return keys._with_checksum(keys.AGENT_KEY_PREFIX + keys.lookup_prefix(key) + keys._random(32))


def test_good_key(world, agent_id, key):
    assert authenticate(world, KeyCache(), key).agent_id == agent_id


def test_second_time_needs_no_hash_until_the_cache_expires(world, agent_id, key):
    cache = KeyCache()
    authenticate(world, cache, key)
    assert find(world, cache, key).verified
    world.clock.sleep(CACHE_S)
    assert not find(world, cache, key).verified


@pytest.mark.parametrize("bad", [None, "", "x", "ea_agent_" + "a" * 46])
def test_malformed_keys_never_reach_the_database(bad):
    class NoDatabase:
        def execute(self, *_):
            raise AssertionError("looked up")

    with pytest.raises(UnauthorizedError):
        key_auth.find_key(NoDatabase(), KeyCache(), bad, 0.0)


def test_unknown_and_wrong_keys(world, agent_id, key):
    for bad in (keys.new_agent_key(), wrong_secret(key)):
        with pytest.raises(UnauthorizedError):
            authenticate(world, KeyCache(), bad)


def test_the_cache_never_holds_the_key(world, agent_id, key):
    cache = KeyCache()
    authenticate(world, cache, key)
    assert key not in repr(vars(cache))
    assert key[17:] not in repr(vars(cache))


def test_the_cache_is_bounded():
    cache = KeyCache(entries=10)
    for n in range(30):
        cache.put(str(n), "h", 1, 0.0)
        cache.take_allowance(str(n), 0.0)
    assert len(cache) == 10
    assert not cache.holds("0", "h", 1, 0.0)
    assert cache.holds("29", "h", 1, 0.0)


def test_a_new_key_ends_the_old_one_at_once(world, agent_id, key):
    cache, new = KeyCache(), keys.new_agent_key()
    authenticate(world, cache, key)
    hashed = keys.hash_key(new)
    world.write(lambda s, now: agents.replace_key(s, now, agent_id, key=new, key_hash=hashed, overlap_s=0))
    with pytest.raises(UnauthorizedError):
        authenticate(world, cache, key)
    assert authenticate(world, cache, new).agent_id == agent_id


def test_overlap_keeps_the_old_key_for_its_time(world, agent_id, key):
    cache, new = KeyCache(), keys.new_agent_key()
    hashed = keys.hash_key(new)
    world.write(lambda s, now: agents.replace_key(s, now, agent_id, key=new, key_hash=hashed, overlap_s=60))
    world.clock.sleep(59)
    assert authenticate(world, cache, key).agent_id == authenticate(world, cache, new).agent_id == agent_id
    world.clock.sleep(1)
    with pytest.raises(UnauthorizedError):
        authenticate(world, cache, key)
    authenticate(world, cache, new)


def test_a_deleted_agent_is_refused_at_once(world, agent_id, key):
    cache = KeyCache()
    authenticate(world, cache, key)
    world.write(lambda s, now: agents.remove(s, now, agent_id))
    with pytest.raises(UnauthorizedError):
        authenticate(world, cache, key)


def test_a_disabled_agent_is_still_let_in(world, agent_id, key):
    world.write(lambda s, _now: agents.block(s, agent_id, "disabled", reason=None, until=None))
    assert authenticate(world, KeyCache(), key).agent_id == agent_id


def test_guessing_under_one_prefix_is_throttled_and_a_verified_key_does_not_notice(world, agent_id, key):
    cache = KeyCache()
    authenticate(world, cache, key)
    for _ in range(FAILURES_BURST):
        with pytest.raises(UnauthorizedError):
            authenticate(world, cache, wrong_secret(key))
    with pytest.raises(ThrottledError):
        authenticate(world, cache, wrong_secret(key))
    assert authenticate(world, cache, key).agent_id == agent_id
    world.clock.sleep(10)
    with pytest.raises(UnauthorizedError):
        authenticate(world, cache, wrong_secret(key))
