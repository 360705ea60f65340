"""The email executor against a real SMTP server (contract 3.8)."""

from __future__ import annotations

import base64
import email.utils
import threading
from typing import ClassVar

import pytest

from tests.support.ports import free_port
from tests.support.smtp_server import SmtpServer
from tests.support.tls import throwaway_authority
from workers.executors.email import EmailExecutor
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

PASSWORD = "passw0rd-of-ada"
MAIL = {"to": "jane@example.com", "subject": "Disk full", "body": "It is."}


class TestContract(ExecutorContract):
    """What every executor promises; the samples meet a closed port."""

    executor = EmailExecutor
    samples: ClassVar = {"sendEmail": MAIL, "testConnection": {}}

    def harness(self, tmp_path):
        return Harness(self.executor(), tmp_path, credential=entry(1))


def entry(port, **more):
    return {
        "host": "127.0.0.1", "port": port, "username": "ada", "password": PASSWORD,
        "fromAddress": "alerts@example.com", "security": "none", **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return throwaway_authority(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def send(tmp_path):
    def run(server, params=None, *, name="sendEmail", credential=None, timeout_s=30, cancelled=lambda: False, **more):
        credential = entry(server.port, **more) if credential is None else credential
        harness = Harness(EmailExecutor(), tmp_path, credential=credential, cancelled=cancelled)
        ran = harness.run(name, {**MAIL, **(params or {})}, timeout_s=timeout_s)
        assert PASSWORD not in str(ran.recorded)
        return ran.recorded

    return run


# ---- one mail -------------------------------------------------------------------------------------------------------


def test_a_mail_arrives_with_date_and_message_id(send):
    """Defect D15."""
    with SmtpServer() as server:
        result = send(server, {"cc": "Ops <ops@example.com>", "bcc": "boss@example.com", "replyTo": "help@example.com"})
        mail = server.read()
    assert result["status"] == "success", result
    assert result["exitCode"] == 0
    assert result["output"]["to"] == "jane@example.com"
    assert result["output"]["subject"] == "Disk full"
    assert result["output"]["recipientCount"] == 3
    assert result["output"]["message"].startswith("handed over to 127.0.0.1")
    assert server.handler.mails[0].rcpt_tos == ["jane@example.com", "ops@example.com", "boss@example.com"]
    assert mail["From"] == "alerts@example.com"
    assert mail["Reply-To"] == "help@example.com"
    assert email.utils.parsedate_to_datetime(mail["Date"])
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail.get_content().split() == ["It", "is."]
    assert "boss@example.com" not in mail.as_string()


def test_text_and_html_are_alternatives(send):
    with SmtpServer() as server:
        send(server, {"htmlBody": "<p>Grüße</p>"})
        mail = server.read()
    assert mail.get_content_type() == "multipart/alternative"
    assert mail.get_body(("html",)).get_content().strip() == "<p>Grüße</p>"
    assert mail.get_body(("plain",)).get_content().strip() == "It is."


def test_html_alone_and_an_empty_subject(send):
    with SmtpServer() as server:
        assert send(server, {"body": None, "htmlBody": "<b>x</b>", "subject": " "})["status"] == "success"
        mail = server.read()
    assert mail.get_content_type() == "text/html"
    assert mail["Subject"] == "(no subject)"


def test_a_rich_mail_is_drawn_from_the_data_as_html_and_as_text_and_escaped(send):
    data = {"stdout": "<script>alert(1)</script>\nall & well", "exitCode": 0}
    params = {"messageFormat": "rich", "outputData": data, "title": "Uptime <b>", "incidentUrl": "javascript:alert(1)"}
    with SmtpServer() as server:
        result = send(server, {"body": None, **params})
        mail = server.read()
    assert result["status"] == "success", result
    html = mail.get_body(("html",)).get_content()
    assert "<h2" in html
    assert "Uptime &lt;b&gt;" in html
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "javascript:" not in mail.as_string()
    text = mail.get_body(("plain",)).get_content()
    assert "<script>alert(1)</script>" in text
    assert "all & well" in text
    assert result["output"]["subject"] == "Disk full"


def test_a_rich_mail_without_data_is_the_plain_one(send):
    with SmtpServer() as server:
        assert send(server, {"messageFormat": "rich", "outputData": {}})["status"] == "success"
        mail = server.read()
    assert mail.get_content_type() == "text/plain"


def test_many_recipients(send):
    """500 may be named (`RECIPIENTS_MAX`), so a line of their addresses is long."""
    named = [f"somebody.number.{number}@example.com" for number in range(500)]
    with SmtpServer() as server:
        result = send(server, {"to": ", ".join(named)})
    assert result["output"]["recipientCount"] == len(named), result
    assert server.handler.mails[0].rcpt_tos == named


def test_names_beyond_ascii_and_with_commas(send):
    """Defect D15: the name is encoded and the address is not; a comma in a quoted name splits nothing."""
    with SmtpServer() as server:
        send(
            server,
            {"to": '"Müller, Jürgen" <j.mueller@example.com>, <jane@bücher.example>'},
            fromName="Überwachung, Süd",
        )
        mail = server.read()
    assert server.handler.mails[0].rcpt_tos == ["j.mueller@example.com", "jane@xn--bcher-kva.example"]
    assert mail["From"].addresses[0].display_name == "Überwachung, Süd"
    assert mail["From"].addresses[0].addr_spec == "alerts@example.com"
    assert mail["To"].addresses[0].display_name == "Müller, Jürgen"
    raw = server.handler.mails[0].content
    assert b"<j.mueller@example.com>" in raw
    assert raw.isascii()


def test_attachments(send):
    files = [
        {"name": "rows.csv", "content": "a,b\nü,2\n"},
        {"name": "Bericht März.pdf", "contentBase64": base64.b64encode(bytes(range(256))).decode()},
        {"name": "mail.eml", "content": "From: x", "contentType": "message/rfc822"},
    ]
    with SmtpServer() as server:
        assert send(server, {"attachments": files})["status"] == "success"
        parts = list(server.read().iter_attachments())
    assert [part.get_filename() for part in parts] == ["rows.csv", "Bericht März.pdf", "mail.eml"]
    assert [part.get_content_type() for part in parts] == ["text/csv", "application/pdf", "application/octet-stream"]
    assert parts[1].get_content() == bytes(range(256))


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"to": "jane@example.com\nBcc: x@example.com"}, "'to'"),
        ({"to": "jane@example.com", "subject": "x\r\nBcc: y@example.com"}, "'subject'"),
        ({"to": "Doe, Jane <jane@example.com>"}, "'to'"),
        ({"to": "jane"}, "'to'"),
        ({"to": "jane@"}, "'to'"),
        ({"to": ", ,"}, "'to'"),
        ({"to": "a@example.com b@example.com"}, "'to'"),
        ({"cc": "jane@exa mple.com"}, "'cc'"),
        ({"replyTo": "nobody"}, "'replyTo'"),
        ({"body": " ", "htmlBody": None}, "'body'"),
        ({"body": None, "messageFormat": "rich", "outputData": ""}, "'body'"),
        ({"messageFormat": "fancy"}, "'messageFormat'"),
        ({"attachments": [{"name": "../x", "content": ""}]}, "'attachments.0.name'"),
        ({"attachments": [{"name": "x", "contentBase64": "%"}]}, "'attachments.contentBase64'"),
        ({"attachments": [{"name": "x", "contentType": "text/x\r\nX: y"}]}, "'attachments.0.contentType'"),
        ({"attachments": [{"name": "x", "content": "y" * 10_485_761}]}, "'attachments'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(send, params, named):
    with SmtpServer() as server:
        result = send(server, params)
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert named in result["error"]
    assert server.handler.mails == []


# ---- the server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_encrypted_and_verified(send, authority, mode):
    tls = {"host": "localhost", "security": mode, "caCertificate": authority.root.read_text()}
    with SmtpServer(mode, authority.server_context()) as server:
        assert send(server, **tls)["status"] == "success"
        assert server.handler.logins[0][2], "the login came after the encryption"
        untrusted = send(server, **(tls | {"caCertificate": None}))
        other_name = send(server, **(tls | {"host": "127.0.0.1"}))
        unverified = send(server, **(tls | {"caCertificate": None, "verifyTls": False}))
    assert untrusted["exitCode"] == 1
    assert "is not trusted" in untrusted["error"]
    assert "'caCertificate'" in untrusted["error"]
    assert "is not trusted" in other_name["error"]
    assert unverified["status"] == "success"
    assert len(server.handler.mails) == 2


def test_a_server_without_starttls_gets_nothing(send):
    with SmtpServer() as server:
        result = send(server, security="starttls")
    assert "offers no STARTTLS" in result["error"]
    assert (server.handler.logins, server.handler.mails) == ([], [])


def test_a_wrong_password_says_so(send):
    with SmtpServer() as server:
        result = send(server, password="another-passw0rd")
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert "refused the login of ada (535)" in result["error"]
    assert server.handler.mails == []


def test_a_relay_without_login(send):
    """Defect D15."""
    with SmtpServer(login=False) as server:
        params = {"host": "127.0.0.1", "port": server.port, "security": "none", "fromAddress": "a@example.com"}
        result = send(server, {"connectionConfig": params}, credential={"note": "no secret"})
        assert result["status"] == "success", result
    assert server.handler.logins == []


def test_some_recipients_are_refused(send):
    with SmtpServer() as server:
        server.handler.refuses = {"gone@example.com": "550 no such user"}
        result = send(server, {"to": "jane@example.com, gone@example.com"})
    assert result["status"] == "success"
    assert result["error"] == "1 of 2 recipients were refused: gone@example.com (550 no such user)"
    assert result["output"]["recipientCount"] == 1
    assert result["output"]["refused"] == [{"address": "gone@example.com", "reason": "550 no such user"}]


def test_all_recipients_are_refused(send):
    with SmtpServer() as server:
        server.handler.refuses = {"jane@example.com": "451 later"}
        result = send(server)
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert "refused every recipient: jane@example.com (451 later)" in result["error"]
    assert server.handler.mails == []


def test_a_clear_no_is_no_doubt(send):
    with SmtpServer() as server:
        server.handler.data_answer = "554 looks like spam"
        result = send(server)
    assert "554 looks like spam" in result["error"]
    assert "may have been sent" not in result["error"]


def test_cut_off_after_the_mail_nobody_knows(send):
    with SmtpServer() as server:
        server.handler.cuts = "data"
        result = send(server)
    assert result["exitCode"] == 1
    assert "ended the connection; the mail may have been sent" in result["error"]


def test_the_actions_own_limit(send):
    with SmtpServer() as server:
        server.handler.hangs = "data"
        result = send(server, {"timeout": "0.5"})
    assert "within 0.5 s" in result["error"]
    assert "may have been sent" in result["error"]


def test_the_jobs_limit(send):
    with SmtpServer() as server:
        server.handler.hangs = "data"
        result = send(server, timeout_s=1)
    assert result["exitCode"] == -1
    assert result["error"] == "timed out after 1 seconds; the mail may have been sent"


def test_cancelled_while_it_waits(send):
    asked = threading.Event()
    with SmtpServer() as server:
        server.handler.hangs = "data"

        def cancelled():
            if server.handler.reached.is_set():
                asked.set()
            return asked.is_set()

        result = send(server, cancelled=cancelled)
    assert result["exitCode"] == -1
    assert "cancelled" in result["error"]
    assert "may have been sent" in result["error"]


def test_a_mail_beyond_the_servers_size_is_not_sent(send):
    with SmtpServer(data_size_limit=2_000) as server:
        result = send(server, {"body": "x\n" * 2_000})
    assert "and the server takes 2000" in result["error"]


def test_an_address_beyond_ascii_needs_the_servers_consent(send):
    with SmtpServer(enable_SMTPUTF8=True) as server:
        assert send(server, {"to": "jürgen@example.com"})["status"] == "success"
    assert server.handler.mails[0].rcpt_tos == ["jürgen@example.com"]
    with SmtpServer() as server:
        assert "SMTPUTF8" in send(server, {"to": "jürgen@example.com"})["error"]


def test_nobody_listens(send):
    class Nobody:
        port = free_port()

    result = send(Nobody)
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert "Connection refused" in result["error"]


def test_the_credential_stays_with_its_host(send):
    with SmtpServer() as server:
        result = send(server, {"smtpHost": "evil.example", "connectionConfig": {"host": "evil.example"}})
    assert result["exitCode"] == -1
    assert "belongs to 127.0.0.1 and is not sent to evil.example" in result["error"]
    assert server.handler.mails == []


# ---- testConnection -------------------------------------------------------------------------------------------------


def steps(result):
    return [(step["step"], step["ok"]) for step in result["output"]["steps"]]


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_each_step_is_reported(send, authority, mode):
    tls = {"host": "localhost", "security": mode, "caCertificate": authority.root.read_text()}
    with SmtpServer(mode, authority.server_context()) as server:
        result = send(server, name="testConnection", **tls)
        refused = send(server, name="testConnection", **(tls | {"password": "another-passw0rd"}))
    assert result["status"] == "success", result
    assert steps(result) == [("name", True), ("tcp", True), ("tls", True), ("login", True)]
    assert result["output"]["message"].startswith(f"localhost:{server.port} takes mail as ada")
    assert {"host", "port", "username"} <= result["output"].keys()
    assert steps(refused)[-1] == ("login", False)
    assert refused["exitCode"] == 1
    assert server.handler.mails == []


@pytest.mark.parametrize("nested", [False, True])
def test_with_a_target_a_mail_is_sent(send, nested):
    target = {"targetEmail": "jane@example.com"}
    with SmtpServer() as server:
        result = send(server, {"connectionConfig": target} if nested else target, name="testConnection")
    assert result["output"]["to"] == "jane@example.com"
    assert result["output"]["message"]
    assert steps(result)[-1] == ("login", True)
    assert len(server.handler.mails) == 1


def test_only_a_test_without_a_mail_may_be_repeated():
    spec = EmailExecutor().spec("testConnection")
    assert spec.may_repeat({})
    assert not spec.may_repeat({"targetEmail": "a@b.c"})
    assert not EmailExecutor().spec("sendEmail").may_repeat(MAIL)
