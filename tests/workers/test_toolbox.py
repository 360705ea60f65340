from __future__ import annotations

from dataclasses import replace

import pytest

from easyalert.errors import AgentFault, ConfigurationError, CredentialError, JobError
from easyalert.sealing import ensure_key_pair
from tests.workers.chain import Chain
from tests.workers.oddities import foreign
from vault import Vault, VaultKey
from workers.registry import Registry
from workers.toolbox import pack


@pytest.fixture
def home(make_home):
    return make_home("https://control.example:8443/prefix", max_concurrent_jobs=1)


@pytest.fixture
def tools(home):
    return replace(pack(home.settings), registry=Registry(foreign=foreign()))


def row(home, action, params, **fields):
    chain = Chain(home)
    return chain.row(chain.take(action, params, **fields))


def test_parameters_are_opened(home, tools):
    assert tools.open_params(row(home, "a.b", {"n": [1, "é"]})) == {"n": [1, "é"]}


def test_null_parameters_are_none_at_all(home, tools):
    assert tools.open_params(row(home, "a.b", None)) == {}


@pytest.mark.parametrize("params", [[], "text", 5])
def test_parameters_that_are_no_object_are_refused(home, tools, params):
    with pytest.raises(JobError, match="object"):
        tools.open_params(row(home, "a.b", params))


def test_parameters_have_a_limit(home, tools):
    with pytest.raises(JobError, match="10485760"):
        tools.open_params(row(home, "a.b", {"x": "y" * 10_485_760}))


def test_parameters_of_another_job_or_key_do_not_open(home, tools):
    good = row(home, "a.b", {})
    with pytest.raises(AgentFault):
        tools.open_params(replace(good, job_id="another"))
    with pytest.raises(AgentFault):
        tools.open_params(replace(good, sealed=b"nonsense"))
    with pytest.raises(AgentFault, match="AGENT_API_KEY"):
        replace(tools, private_key=None).open_params(good)


def test_a_key_pair_of_another_api_key_is_said_and_survived(make_home, caplog):
    home = make_home("https://control.example")
    home.settings.agent_key_path.unlink()
    ensure_key_pair(home.settings.agent_key_path, "another key")
    assert pack(home.settings).private_key is None
    assert "AGENT_API_KEY does not open" in caplog.text


def test_the_previous_api_key_opens_too(make_home):
    home = make_home("https://control.example", agent_api_key_previous="another key")
    home.settings.agent_key_path.unlink()
    ensure_key_pair(home.settings.agent_key_path, "another key")
    assert pack(home.settings).private_key is not None


def test_without_a_key_file_nothing_starts(home):
    home.settings.agent_key_path.unlink()
    with pytest.raises(ConfigurationError):
        pack(home.settings)


def test_credentials_are_read_missing_ones_are_none(home, tools):
    tools.vault.put("web", {"a": "b"})
    assert tools.read_credential("web") == {"a": "b"}
    assert tools.read_credential("missing") is None
    assert tools.read_credential("no/id") is None


def test_a_locked_vault_is_named(home, tools):
    tools.vault.put("web", {"a": "b"})
    locked = replace(tools, vault=Vault(home.settings.vault_path, VaultKey("another")))
    with pytest.raises(CredentialError, match="locked"):
        locked.read_credential("web")


@pytest.mark.parametrize(
    ("action", "params", "word", "answer"),
    [
        ("odd.nan", {}, None, True),
        ("odd.raise", {}, None, False),
        ("odd.raise", {}, True, True),
        ("odd.nan", {}, False, False),
        ("odd.count", {"n": 0}, None, True),
        ("odd.count", {"n": 1}, None, False),
        ("odd.count", {"n": "many"}, None, False),
        ("odd.missing", {}, None, False),
        ("missing.x", {}, None, False),
        ("script.bash", {"script": "true"}, None, False),
        ("connection.test", {}, None, True),
        ("system.storeCredential", {}, None, True),
    ],
)
def test_what_may_be_repeated(home, tools, action, params, word, answer):
    assert tools.may_repeat(row(home, action, params, idempotent=word)) is answer


def test_who_cannot_look_into_the_parameters_does_not_repeat(home, tools):
    assert replace(tools, private_key=None).may_repeat(row(home, "odd.count", {"n": 0})) is False


def test_the_control_plane_is_exempt_by_its_origin(tools):
    assert tools.network_policy.exempt_origins == {"https://control.example:8443"}


def test_a_generated_admin_token_counts_among_the_secrets(home, tools):
    home.settings.admin_token_path.write_text("generated-token\n")
    assert "generated-token" in tools.secrets()


def test_agents_have_different_marks(make_home, tools):
    assert pack(make_home("https://control.example").settings).agent != tools.agent
