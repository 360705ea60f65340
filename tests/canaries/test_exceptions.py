"""An executor that fails in every way, secret in hand, with everything logged: none of it reaches a file."""

from __future__ import annotations

import pytest

from tests.canaries import stores
from tests.canaries.search import Search
from tests.canaries.secrets import Canaries
from tests.support.agent_home import API_KEY
from vault import Vault, VaultKey

pytestmark = pytest.mark.system

PIGEON = """
import sys, types, threading, warnings, logging
from importlib.metadata import EntryPoint
import workers.registry
from workers.sdk import Executor, Parameters, action, success

class Nothing(Parameters):
    pass

class Carrier(Exception):
    def __init__(self, secret):
        super().__init__({"password": secret}, secret.encode(), [secret])
        self.secret = secret
        self.add_note("a note with " + secret)

class Pigeon(Executor):
    kind = "pigeon"

    def secret(self, ctx):
        return ctx.require_credential()["password"]

    @action("raises", idempotent=False)
    async def raises(self, ctx, params: Nothing):
        raise Carrier(self.secret(ctx))

    @action("chained", idempotent=False)
    async def chained(self, ctx, params: Nothing):
        try:
            raise KeyError(self.secret(ctx))
        except KeyError as error:
            raise ExceptionGroup("many " + self.secret(ctx), [Carrier(self.secret(ctx)), error]) from error

    @action("thread", idempotent=False)
    async def thread(self, ctx, params: Nothing):
        secret = self.secret(ctx)
        def fail():
            raise Carrier(secret)
        one = threading.Thread(target=fail, name=secret)
        one.start()
        one.join()
        return success()

    @action("talks", idempotent=False)
    async def talks(self, ctx, params: Nothing):
        secret = self.secret(ctx)
        logging.getLogger("a.library").warning("with %s and %r", secret, {secret: [secret]}, extra={"token": secret})
        logging.getLogger("a.library").debug("broken %d", secret)
        warnings.warn(secret)
        class Odd:
            def __del__(self):
                raise Carrier(secret)
        Odd()
        return success({secret: secret})

module = types.ModuleType("pigeon")
module.Pigeon = Pigeon
sys.modules["pigeon"] = module
workers.registry._foreign_kinds = lambda: {"pigeon": EntryPoint("pigeon", "pigeon:Pigeon", workers.registry.ENTRY_POINTS)}
"""
ACTIONS = {"raises": "error", "chained": "error", "thread": "success", "talks": "success"}


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_way_to_fail_shows_the_secret(make_chain, form):
    canaries = Canaries()
    chain = make_chain(start=False, log_level="DEBUG", easyalert_log_format=form)
    for action in ACTIONS:
        Vault(chain.home.settings.vault_path, VaultKey(API_KEY)).put(action, {"password": canaries(action)})
    chain.start_patched(PIGEON)
    for action, status in ACTIONS.items():
        result = chain.result(chain.send(f"pigeon.{action}", {}, connection_id=action))
        assert result["status"] == status
        if action == "talks":
            assert result["output"] == {"[REDACTED]": "[REDACTED]", "redactions": 2}
    log = chain.pool.log
    assert "a thread ended unexpectedly" in log
    assert "an exception nobody could catch" in log
    assert log.count("[REDACTED]") > len(ACTIONS)
    chain.pool.terminate()
    search = Search(canaries)
    found = [str(hit) for where, data in stores.files(chain.home.folder) for hit in search.find(where, data)]
    found += [
        str(hit) for where, data in stores.rows(chain.home.settings.journal_path) for hit in search.find(where, data)
    ]
    assert found == []
