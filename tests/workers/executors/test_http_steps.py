"""What is left when an exchange ends early, and the steps of a test of the connection."""

import time

import pytest

from tests.support.ports import free_port
from tests.support.raw_http import RawHttpServer
from tests.support.tls import throwaway_authority
from tests.workers.executors.http_case import TOKEN, Echo, answer, runner

HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


@pytest.fixture
def run(tmp_path):
    return runner(tmp_path)


class Stopping(RawHttpServer):
    """Sends the beginning of an answer, then hangs up or goes silent."""

    def __init__(self, beginning, *, hangs_up):
        super().__init__(self.begin)
        self.beginning, self.hangs_up = beginning, hangs_up
        self.begun = False

    async def begin(self, reader, writer):
        writer.write(self.beginning)
        await writer.drain()
        self.begun = True
        if not self.hangs_up:
            await reader.read()


def ended(run, how, beginning, **params):
    """The result of an exchange that ends after `beginning`."""
    server = Stopping(beginning, hangs_up=how == "cut")
    params = {"url": "http://SERVER/", **params}
    if how == "own limit":
        return run(server, {**params, "timeoutSeconds": 1}, {"token": TOKEN, "baseUrl": "http://SERVER"})
    options = {"deadline": time.monotonic() + 1.5} if how == "job's limit" else {}
    if how == "cancelled":
        seen = []

        def cancelled():  # not before what was sent has been read: a turn of the loop later
            seen.append(server.begun)
            return len([one for one in seen if one]) > 3

        options = {"cancelled": cancelled}
    return run(server, params, {"token": TOKEN, "baseUrl": "http://SERVER"}, **options)


ENDS = ["cut", "own limit", "job's limit", "cancelled"]


@pytest.mark.parametrize("how", ENDS)
def test_what_had_come_is_kept(run, how):
    result = ended(run, how, HALF + b'{"a": 1}')
    assert (result["status"], result["exitCode"]) == ("error", -1)
    output = result["output"]
    assert (output["statusCode"], output["body"], output["bodyParsed"], output["truncated"]) == (
        200, '{"a": 1}', None, True,
    )  # fmt: skip
    word = {"cut": "no answer from", "own limit": "within 1 s", "job's limit": "timed out", "cancelled": "cancelled"}
    assert word[how] in result["error"]


@pytest.mark.parametrize("how", ENDS)
def test_half_a_secret_at_its_end_is_not(run, how):
    """The other half may have been under way."""
    body = ended(run, how, HALF + b"before " + TOKEN[:10].encode())["output"]["body"]
    assert body.startswith("before")
    assert TOKEN[:6] not in body


@pytest.mark.parametrize("how", ENDS)
def test_who_changes_something_hears_that_it_may_have_taken_effect(run, how):
    assert ended(run, how, b"", method="POST")["error"].endswith("; the request may have taken effect")
    assert "effect" not in ended(run, how, b"")["error"]


def test_and_that_nothing_was_sent(run):
    result = run(RawHttpServer(), {"url": f"http://127.0.0.1:{free_port()}/", "method": "DELETE"})
    assert result["error"].endswith("; nothing was sent")


class TestSteps:
    """Each with its time, and the one that failed is named in the error."""

    def test_all_of_them(self, run, tmp_path):
        authority = throwaway_authority(tmp_path, "localhost")
        vault = {"token": TOKEN, "baseUrl": "https://SERVER", "caCertificate": authority.root.read_text()}
        output = run(Echo(tls=authority.server_context()), {}, vault, name="testConnection")["output"]
        steps = output["steps"]
        assert [step["step"] for step in steps] == ["name", "tcp", "tls", "login", "permission"]
        assert all(step["ok"] and step["durationMs"] >= 0 for step in steps)
        assert output["statusCode"] == 200
        assert "answered 200 to HEAD" in output["message"]

    @pytest.mark.parametrize(
        ("address", "step"),
        [
            ("http://no-such-name.invalid", "name"),
            ("http://127.0.0.1:CLOSED", "tcp"),
            ("https://SERVER", "tls"),
        ],
    )
    def test_no_answer(self, run, tmp_path, address, step):
        server = Echo(tls=throwaway_authority(tmp_path, "localhost").server_context())
        vault = {"token": TOKEN, "baseUrl": address.replace("CLOSED", str(free_port()))}
        result = run(server, {}, vault, name="testConnection")
        assert (result["status"], result["exitCode"]) == ("error", -1)
        last = result["output"]["steps"][-1]
        assert (last["step"], last["ok"]) == (step, False)
        assert len(last["detail"]) > len("failed")
        assert result["error"].startswith(f"{step}: ")

    @pytest.mark.parametrize(
        ("status", "credential", "step", "steps"),
        [
            (401, True, "login", ["tcp", "login"]),
            (401, False, "login", ["tcp", "login"]),
            (403, True, "permission", ["tcp", "login", "permission"]),
            (404, False, "permission", ["tcp", "permission"]),
        ],
    )
    def test_a_refusal(self, run, status, credential, step, steps):
        vault = {"baseUrl": "http://SERVER", **({"token": TOKEN} if credential else {})}
        result = run(RawHttpServer(answer(status)), {}, vault, name="testConnection")
        assert (result["status"], result["exitCode"]) == ("error", 1)
        assert result["error"].startswith(f"HTTP {status} ({step})")
        assert [one["step"] for one in result["output"]["steps"]] == steps
        assert [one["ok"] for one in result["output"]["steps"]] == [True] * (len(steps) - 1) + [False]
        assert result["output"]["statusCode"] == status

    @pytest.mark.parametrize("how", ["own limit", "job's limit", "cancelled"])
    def test_silence(self, run, how):
        server = Stopping(b"", hangs_up=False)
        options = {"own limit": {}, "job's limit": {"deadline": time.monotonic() + 1}}
        options["cancelled"] = {"cancelled": lambda: server.begun}
        params = {"timeoutSeconds": 0.5} if how == "own limit" else {}
        result = run(server, params, {"baseUrl": "http://SERVER"}, name="testConnection", **options[how])
        assert result["exitCode"] == -1
        assert result["error"].startswith("permission: ")
        assert result["output"]["steps"][0]["ok"]
