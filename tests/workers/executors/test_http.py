"""The http executor against real sockets (contract 3.3)."""

import asyncio
import base64
import gzip
import json
import logging
import re
import time
from typing import ClassVar

import pytest

from easyalert.errors import AddressRefused, EasyAlertError, Fault, InvalidParameter, PolicyRefused
from easyalert.logs import configure_logging
from easyalert.netguard.judge import NetworkPolicy
from tests.support.ports import free_port
from tests.support.raw_http import RawHttpServer
from tests.support.tls import throwaway_authority
from tests.workers.executors.http_case import OPEN, TOKEN, Echo, answer, context, runner
from workers.executors.http import HttpExecutor
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness
from workers.sdk.http_body import BODY_MAX_BYTES


class TestContract(ExecutorContract):
    """What every executor promises. The samples meet a closed port: even that is a result that can be sent."""

    executor = HttpExecutor
    samples: ClassVar = {
        "request": {"url": "http://127.0.0.1:1/"},
        "testConnection": {"baseUrl": "http://127.0.0.1:1/"},
    }

    def harness(self, tmp_path):
        return Harness(self.executor(), tmp_path, network_policy=OPEN)


@pytest.fixture
def run(tmp_path):
    return runner(tmp_path)


def refusal(run, server, params, credential=None, **options):
    """The job is refused: the error; nothing reached the server."""
    with pytest.raises(EasyAlertError) as caught:
        run(server, params, credential, **options)
    assert server.connections == 0
    return caught.value


def test_a_plain_get(run):
    server = Echo()
    result = run(server, {"url": "http://SERVER/path?q=1"})
    assert (result["status"], result["exitCode"], result["error"]) == ("success", 0, None)
    output = result["output"]
    assert set(output) == {"statusCode", "headers", "body", "bodyParsed", "truncated"}
    assert output["statusCode"] == 200
    assert output["headers"]["content-type"] == "application/json"
    assert output["truncated"] is False
    assert output["bodyParsed"] == server.seen[0] == json.loads(output["body"])
    assert (server.seen[0]["method"], server.seen[0]["path"]) == ("GET", "/path?q=1")
    assert server.seen[0]["headers"]["user-agent"].startswith("easyalert-agent/")


def test_everything_a_job_can_say(run):
    server = Echo()
    run(
        server,
        {
            "baseUrl": "http://SERVER/api/",
            "url": "/things?a=1&b=2",
            "method": "post",
            "headers": {"X-One": "1", "User-Agent": "mine", "X-Null": None},
            "queryParams": {"a": "new", "c": True},
            "body": {"k": "ü"},
            "bodyType": "json",
            "timeout": "20",
        },
    )
    seen = server.seen[0]
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/api/things?b=2&a=new&c=true", '{"k":"ü"}')
    assert seen["headers"]["x-one"] == "1"
    assert seen["headers"]["user-agent"] == "mine"
    assert seen["headers"]["content-type"] == "application/json"
    assert "x-null" not in seen["headers"]


@pytest.mark.parametrize(
    "params",
    [
        {"headers": None, "queryParams": None, "body": None, "assertions": None, "timeout": None, "method": None},
        {
            "headers": "",
            "queryParams": "",
            "assertions": "",
            "timeout": "",
            "timeoutSeconds": "",
            "method": "",
            "bodyType": "",
        },
        {"timeout": "2.5"},
        {"timeout": 0, "timeoutSeconds": "3"},
    ],
)
def test_null_empty_and_numeric_strings_are_fine(run, params):
    """Defect A22: templates produce them."""
    assert run(Echo(), {"url": "http://SERVER/", **params})["status"] == "success"


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "ftp://SERVER/"}, "url"),
        ({"url": " http://SERVER/ "}, None),
        ({"url": "http://SERVER/\n"}, "url"),
        ({"url": "x", "baseUrl": "http://SERVER/\n"}, "baseUrl"),
        ({"url": "http://SERVER/" + "a" * 20_000}, "url"),
        ({"url": "http://SERVER/", "method": "GET\n"}, "method"),
        ({"url": "http://SERVER/", "method": "G" * 2_000_000}, "method"),
        ({"url": "http://SERVER/", "headers": {"X-A\n": "1"}}, "headers.X-A?"),
        ({"url": "http://SERVER/", "headers": {"X-A": "1\n"}}, "headers.X-A"),
        ({"url": "http://SERVER/", "headers": {"X-A": "1" * 70_000}}, "headers"),
        ({"url": "http://SERVER/", "queryParams": {"q": "1" * 20_000}}, "queryParams"),
        ({"url": "http://SERVER/", "body": "b" * 10_485_761}, "body"),
        ({"url": "http://SERVER/", "bodyType": "json\n"}, "bodyType"),
        ({"url": "http://SERVER/", "bodyType": "raw", "body": "x", "rawContentType": "a/b\n"}, "rawContentType"),
        ({"url": "http://SERVER/", "assertions": {"statusCodes": "200\n"}}, "assertions.statusCodes"),
        ({"url": "http://SERVER/", "assertions": {"statusCodes": "200," * 2_000}}, "assertions.statusCodes"),
        ({"url": "http://SERVER/", "assertions": {"jsonPath": "a\n"}}, "assertions.jsonPath"),
        ({"url": "http://SERVER/", "assertions": {"bodyContains": "b" * 2_000_000}}, "assertions.bodyContains"),
        ({"url": "http://SERVER/a b"}, "url"),
        ({"url": "http://SERVER/", "timeout": "soon"}, "timeout"),
        ({"url": "http://SERVER/", "timeout": -1}, "timeout"),
        ({"url": "http://SERVER/", "timeout": "inf"}, "timeout"),
        ({"url": "http://SERVER/", "timeout": "nan"}, "timeout"),
        ({"url": "http://SERVER/", "timeout": True}, "timeout"),
        ({"url": "http://SERVER/", "headers": ["a"]}, "headers"),
        ({"url": "http://SERVER/", "headers": {"Host": "other.example"}}, "headers.Host"),
        ({"url": "http://SERVER/", "queryParams": "a=1"}, "queryParams"),
        ({"url": "http://SERVER/", "method": "GET / HTTP/1.1"}, "method"),
        ({"url": "http://SERVER/", "method": "CONNECT"}, "method"),
        ({"url": "http://SERVER/", "bodyType": "xml"}, "bodyType"),
        ({"url": "http://SERVER/", "bodyType": "raw", "body": "x", "rawContentType": "a\r\nX: y"}, "rawContentType"),
        ({"url": "http://SERVER/", "assertions": {"statusCodes": "ok"}}, "assertions.statusCodes"),
        ({"url": ["http://SERVER/"]}, "url"),
    ],
)
def test_bad_parameters_are_named(run, params, parameter):
    if parameter is None:
        assert run(Echo(), params)["status"] == "success"  # white space around a URL is a template's
        return
    error = refusal(run, Echo(), params)
    assert isinstance(error, InvalidParameter)
    assert error.parameter == parameter


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (200, "success"),
        (204, "success"),
        (304, "success"),
        (400, "error"),
        (404, "error"),
        (500, "error"),
        (599, "error"),
    ],
)
def test_the_status_decides(run, status, word):
    result = run(RawHttpServer(answer(status)), {"url": "http://SERVER/"})
    assert result["status"] == word
    assert result["output"]["statusCode"] == status
    assert (result["exitCode"], result["error"]) == ((0, None) if word == "success" else (1, f"HTTP {status}"))


def test_a_redirect_is_shown_and_not_followed(run):
    server = RawHttpServer(answer(302, Location="http://elsewhere.example/"))
    output = run(server, {"url": "http://SERVER/"})["output"]
    assert (output["redirectLocation"], output["redirectFollowed"]) == ("http://elsewhere.example/", False)
    assert server.connections == 1
    assert run(RawHttpServer(answer(302)), {"url": "http://SERVER/"})["output"]["redirectLocation"] == "unknown"


@pytest.mark.parametrize(
    ("status", "assertions", "holds"),
    [
        (302, {"statusCodes": "200"}, False),
        (404, {"statusCodes": "404"}, True),
        (404, {"statusCodes": "404", "bodyContains": "absent"}, False),
        (500, {"bodyContains": "word"}, False),  # without statusCodes a 500 stays an error
        (302, {"bodyContains": "absent"}, False),
        (200, {"bodyContains": "word", "bodyNotContains": "absent"}, True),
    ],
)
def test_assertions_decide_for_every_status(run, status, assertions, holds):
    """Defect A20."""
    result = run(RawHttpServer(answer(status, b"a word")), {"url": "http://SERVER/", "assertions": assertions})
    assert (result["status"], result["exitCode"]) == (("success", 0) if holds else ("error", 1))
    assert result["output"]["body"] == "a word"


@pytest.mark.parametrize(
    ("body", "parsed"), [(b'{"a": NaN}', {"a": None}), (rb'"\ud800"', "\ufffd"), (b"[1e999]", [None]), (b"{", None)]
)
def test_json_that_cannot_be_sent_on_does_no_harm(run, body, parsed):
    """Defect A3."""
    result = run(RawHttpServer(answer(body=body, Content_Type="application/json")), {"url": "http://SERVER/"})
    assert result["output"]["bodyParsed"] == parsed
    json.dumps(result, allow_nan=False, ensure_ascii=False).encode()


def test_long_bodies_are_cut_and_say_so(run):
    """Defect A16."""
    output = run(RawHttpServer(answer(body=b"x" * 3_000_000)), {"url": "http://SERVER/"})["output"]
    assert output["truncated"] is True
    assert len(output["body"]) == BODY_MAX_BYTES


def test_a_body_without_end_ends(run):
    async def endless(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    assert run(RawHttpServer(endless), {"url": "http://SERVER/"})["output"]["truncated"] is True


def test_compressed_bodies(run):
    server = RawHttpServer(
        answer(body=gzip.compress(b'{"a":1}'), Content_Encoding="gzip", Content_Type="application/json")
    )
    assert run(server, {"url": "http://SERVER/"})["output"]["bodyParsed"] == {"a": 1}


async def silent(reader, _writer):
    await reader.read()


async def cut(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()


async def garbage(_reader, writer):
    writer.write(b"\x00\x01garbage\r\n\r\n")
    await writer.drain()


def test_the_timeout_covers_the_exchange(run):
    started = time.monotonic()
    result = run(RawHttpServer(silent), {"url": "http://SERVER/", "timeout": "0.3"})
    assert (result["status"], result["exitCode"], result["output"]) == ("error", -1, None)
    assert result["error"].endswith("gave no complete answer within 0.3 s")
    assert time.monotonic() - started < 15, "30 s are the limit otherwise"


def test_the_jobs_own_limit_is_a_time_out_of_the_job(run):
    result = run(RawHttpServer(silent), {"url": "http://SERVER/"}, deadline=time.monotonic() + 0.3)
    assert (result["exitCode"], result["error"]) == (-1, "timed out after 30 seconds")


@pytest.mark.parametrize("broken", [cut, garbage])
def test_a_broken_answer_is_the_targets_fault(tmp_path, broken):
    async def job():
        async with RawHttpServer(broken).running() as port:
            ctx = context(tmp_path, {"url": f"http://127.0.0.1:{port}/secret-path?token=x"})
            return await HttpExecutor().run(ctx, "request")

    result = asyncio.run(job())
    assert (result.exit_code, result.fault) == (-1, Fault.TARGET)
    assert re.match(r"no answer from http://127\.0\.0\.1:\d+: .", result.error)
    assert "token" not in result.error


def test_nobody_listening_is_the_targets_fault_and_shows_no_query(tmp_path):
    ctx = context(tmp_path, {"url": f"http://127.0.0.1:{free_port()}/?token=x"})
    result = asyncio.run(HttpExecutor().run(ctx, "request"))
    assert (result.exit_code, result.fault) == (-1, Fault.TARGET)
    assert result.error.endswith(": Connection refused")
    assert "token" not in result.error


def test_cancel_closes_the_connection(run):
    closed = []

    async def watch(reader, _writer):
        closed.append(await reader.read() == b"")

    started = time.monotonic()
    result = run(RawHttpServer(watch), {"url": "http://SERVER/"}, cancelled=lambda: time.monotonic() - started > 0.2)
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "cancelled" in result["error"]
    assert closed == [True]
    assert time.monotonic() - started < 15, "30 s are the limit otherwise"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/",
        "http://localhost/",
        "http://2130706433/",
        "http://u:p@8.8.8.8/",
    ],
)
@pytest.mark.parametrize("name", ["request", "testConnection"])
def test_internal_targets_are_refused(tmp_path, url, name):
    """Defect C10."""
    params = {"url": url} if name == "request" else {"connectionConfig": {"baseUrl": url}}
    with pytest.raises(AddressRefused):
        asyncio.run(HttpExecutor().run(context(tmp_path, params, name=name, policy=NetworkPolicy()), name))


class TestCredential:
    """Defect C2: a credential goes to the origin of its connection and nowhere else."""

    @pytest.mark.parametrize(
        ("credential", "header", "value"),
        [
            ({"token": TOKEN}, "authorization", f"bearer {TOKEN}"),
            (
                {"authType": "basic", "username": "user", "password": "passw0rd"},
                "authorization",
                "basic " + base64.b64encode(b"user:passw0rd").decode().lower(),
            ),
            ({"authType": "apiKey", "apiKey": TOKEN}, "x-api-key", TOKEN),
            ({"authType": "apiKey", "apiKey": TOKEN, "headerName": "X-Mine"}, "x-mine", TOKEN),
        ],
    )
    @pytest.mark.parametrize("place", ["vault", "connectionConfig", "baseUrl"])
    def test_it_is_sent_to_its_own_origin(self, run, credential, header, value, place):
        server = Echo()
        params = {"url": "/x", "headers": {header.title(): "of the job"}}
        if place == "vault":
            credential = {**credential, "baseUrl": "http://SERVER/api"}
        elif place == "connectionConfig":
            params["connectionConfig"] = {"baseUrl": "http://SERVER/api"}
        else:
            params["baseUrl"] = "http://SERVER/api"
        result = run(server, params, credential)
        assert server.seen[0]["headers"][header] == value
        assert server.seen[0]["path"] == "/api/x"
        text = json.dumps(result)
        assert TOKEN not in text
        assert "passw0rd" not in text

    @pytest.mark.parametrize(
        ("params", "credential"),
        [
            ({"url": "http://SERVER/"}, {"token": TOKEN, "baseUrl": "https://api.example"}),
            ({"url": "/x", "baseUrl": "http://SERVER/"}, {"token": TOKEN, "baseUrl": "https://api.example"}),
            (
                {"url": "/x", "connectionConfig": {"baseUrl": "http://SERVER/"}},
                {"token": TOKEN, "baseUrl": "https://api.example"},
            ),
            ({"url": "http://SERVER/"}, {"token": TOKEN, "host": "api.example"}),
            ({"url": "http://SERVER/", "baseUrl": "https://api.example"}, {"token": TOKEN}),
            ({"url": "http://SERVER/", "connectionConfig": {"baseUrl": "https://api.example"}}, {"token": TOKEN}),
            ({"url": "/x", "baseUrl": "http://SERVER/", "connectionConfig": {"host": "api.example"}}, {"token": TOKEN}),
            ({"url": "http://SERVER/"}, {"token": TOKEN, "baseUrl": "https://SERVER/"}),  # another scheme
            ({"url": "http://SERVER/"}, {"token": TOKEN, "host": "SERVER"}),  # a bare host means https
            ({"url": "http://SERVER/"}, {"token": TOKEN, "baseUrl": "http://127.0.0.1:1/"}),  # another port
            ({"url": "http://SERVER/"}, {"token": TOKEN, "baseUrl": "http://SERVER.evil.example/"}),
            ({"url": "http://SERVER/"}, {"token": TOKEN, "baseUrl": "::not a url::"}),
            ({"url": "http://SERVER/"}, {"token": TOKEN}),  # bound to nothing
        ],
    )
    def test_it_is_never_sent_elsewhere(self, run, params, credential):
        error = refusal(run, Echo(), params, credential)
        assert isinstance(error, PolicyRefused)
        assert "conn-1" in str(error)
        assert TOKEN not in str(error)

    def test_the_vaults_address_is_used_when_the_job_names_none(self, run):
        server = Echo()
        run(server, {"url": "x"}, {"token": TOKEN, "baseUrl": "http://SERVER"})
        assert server.seen[0]["path"] == "/x"

    @pytest.mark.parametrize(
        "credential", [None, {}, {"baseUrl": "https://api.example"}, {"authType": "none", "token": TOKEN}]
    )
    def test_without_a_secret_the_request_goes_without(self, run, credential):
        server = Echo()
        assert run(server, {"url": "http://SERVER/"}, credential, connection_id="conn-1")["status"] == "success"
        assert "authorization" not in server.seen[0]["headers"]

    def test_an_echoed_credential_is_redacted_everywhere(self, run):
        async def echo(_reader, writer):
            shown = f'{{"raw": "{TOKEN}", "b64": "{base64.b64encode(TOKEN.encode()).decode()}", "{TOKEN}": 1}}'
            writer.write(answer(body=shown.encode(), Content_Type="application/json", X_Echo=TOKEN))
            await writer.drain()

        result = run(
            RawHttpServer(echo),
            {"baseUrl": "http://SERVER", "assertions": {"jsonPath": "raw", "jsonPathValue": "x"}},
            {"token": TOKEN},
        )
        text = json.dumps(result)
        assert result["status"] == "error"
        assert TOKEN not in text
        assert base64.b64encode(TOKEN.encode()).decode() not in text
        assert result["output"]["redactions"] >= 5


class TestTestConnection:
    @pytest.mark.parametrize(
        "config",
        [{"baseUrl": "http://SERVER/health"}, {"url": "http://SERVER/health"}, {"host": "http://SERVER/health"}],
    )
    @pytest.mark.parametrize("nested", [True, False])
    def test_a_head_request_with_the_credential(self, run, config, nested):
        server = Echo()
        result = run(
            server, {"connectionConfig": config} if nested else config, {"token": TOKEN}, name="testConnection"
        )
        assert result["status"] == "success"
        assert "answered 200" in result["output"]["message"]
        assert (server.seen[0]["method"], server.seen[0]["path"]) == ("HEAD", "/health")
        assert server.seen[0]["headers"]["authorization"] == f"bearer {TOKEN}"

    @pytest.mark.parametrize("status", [405, 501])
    def test_get_where_head_is_not_supported(self, run, status):
        async def no_head(_reader, writer):
            writer.write(answer(status) if server.requests[-1].startswith("HEAD") else answer(200))
            await writer.drain()

        server = RawHttpServer(no_head)
        assert (
            run(server, {"connectionConfig": {"baseUrl": "http://SERVER"}}, name="testConnection")["status"]
            == "success"
        )
        assert [request.split(" ")[0] for request in server.requests] == ["HEAD", "GET"]

    def test_a_wrong_credential_is_no_success(self, run):
        result = run(
            RawHttpServer(answer(401)),
            {"connectionConfig": {"baseUrl": "http://SERVER"}},
            {"token": TOKEN},
            name="testConnection",
        )
        assert (result["status"], result["exitCode"]) == ("error", 1)
        assert result["error"] == "HTTP 401 (login): the credential is not accepted"
        assert result["output"]["statusCode"] == 401

    def test_a_bare_host_means_https(self, tmp_path, monkeypatch):
        authority = throwaway_authority(tmp_path, "localhost")
        monkeypatch.setattr("easyalert.netguard.transport.system_trust", authority.client_context)

        async def job():
            server = Echo(tls=authority.server_context())
            async with server.running() as port:
                params = {"connectionConfig": {"host": "localhost", "port": port}}
                ctx = context(tmp_path, params, {"token": TOKEN}, name="testConnection")
                return await HttpExecutor().run(ctx, "testConnection"), server

        result, server = asyncio.run(job())
        assert result.status == "success"
        assert server.seen[0]["headers"]["authorization"] == f"bearer {TOKEN}"

    def test_without_an_address_the_parameter_is_named(self, run):
        assert "connectionConfig.baseUrl" in str(refusal(run, Echo(), {}, name="testConnection"))


def test_an_untrusted_certificate_is_refused(tmp_path):
    authority = throwaway_authority(tmp_path, "localhost")

    async def job():
        server = Echo(tls=authority.server_context())
        async with server.running() as port:
            result = await HttpExecutor().run(context(tmp_path, {"url": f"https://localhost:{port}/"}), "request")
        return server, result

    server, result = asyncio.run(job())
    assert server.requests == []
    assert "is not trusted" in result.error
    assert "'caCertificate'" in result.error


@pytest.fixture
def as_a_worker_logs():
    """The logging of the product at its most talkative, taken back afterwards."""
    root, libraries = logging.getLogger(), [logging.getLogger(name) for name in ("httpx", "httpcore")]
    before = (list(root.handlers), [(log, log.level) for log in (root, *libraries)])
    for library in libraries:
        library.setLevel(logging.NOTSET)
    configure_logging("workers", "DEBUG")
    yield
    root.handlers[:] = before[0]
    for log, level in before[1]:
        log.setLevel(level)
    logging.captureWarnings(capture=False)


def test_no_url_and_no_token_is_logged(run, as_a_worker_logs, caplog):
    """Defect C9."""
    run(Echo(), {"baseUrl": "http://SERVER", "url": "/path?token=abcdef"}, {"token": TOKEN})
    logging.getLogger("httpx").warning("seen")
    assert "seen" in caplog.text
    assert "abcdef" not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("method", "repeat"),
    [("GET", True), ("head", True), ("POST", False), ("DELETE", False), ("PUT", False), ("OPTIONS", False)],
)
def test_which_requests_may_be_repeated(method, repeat):
    assert HttpExecutor().spec("request").may_repeat({"url": "http://a", "method": method}) is repeat
    assert HttpExecutor().spec("testConnection").may_repeat({}) is True


def test_cookies_do_not_pass_from_job_to_job(run, tmp_path):
    async def job():
        executor, server = HttpExecutor(), Echo()
        async with server.running() as port:
            setter = RawHttpServer(answer(Set_Cookie="session=1"))
            async with setter.running() as other:
                await executor.run(context(tmp_path, {"url": f"http://127.0.0.1:{other}/"}), "request")
            await executor.run(context(tmp_path, {"url": f"http://127.0.0.1:{port}/"}), "request")
        return server.seen[0]

    assert "cookie" not in asyncio.run(job())["headers"]


class TestBinding:
    """A credential whose entry names no address is bound to the first it is used for (`Context.bind_credential`)."""

    def run_bound(self, tmp_path, credential, params, bind):
        async def job():
            server = Echo()
            async with server.running() as port:
                wired = json.loads(json.dumps([credential, params]).replace("SERVER", f"127.0.0.1:{port}"))
                ctx = context(tmp_path, wired[1], wired[0])
                ctx.bind = bind
                try:
                    await HttpExecutor().run(ctx, "request")
                except PolicyRefused:
                    return server, port
            return server, port

        return asyncio.run(job())

    @pytest.mark.parametrize(
        "params",
        [{"url": "/x", "baseUrl": "http://SERVER/api"}, {"url": "/x", "connectionConfig": {"host": "http://SERVER"}}],
        ids=["baseUrl", "connectionConfig"],
    )
    def test_its_origin_is_told_before_anything_is_sent(self, tmp_path, params):
        told = []
        _, port = self.run_bound(tmp_path, {"token": TOKEN}, params, lambda *said: told.append(said))
        assert told == [("conn-1", {"token": TOKEN}, f"http://127.0.0.1:{port}")]

    def test_refused_nothing_is_sent(self, tmp_path):
        def refuse(*_):
            raise PolicyRefused("bound elsewhere")

        server, _ = self.run_bound(tmp_path, {"token": TOKEN}, {"baseUrl": "http://SERVER/"}, refuse)
        assert server.seen == []

    @pytest.mark.parametrize("credential", [{"token": TOKEN, "baseUrl": "http://SERVER/"}, {"note": "no secret"}])
    def test_the_owners_word_and_no_secret_need_no_memory(self, tmp_path, credential):
        told = []
        self.run_bound(tmp_path, credential, {"url": "http://SERVER/"}, lambda *said: told.append(said))
        assert told == []
