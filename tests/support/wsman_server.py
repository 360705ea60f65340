"""A WinRM service on a socket, made from the published protocol and not from any client.

[MS-WSMV] (messages, shells, faults, 2.2.9.1 encrypted messages), [DMTF-DSP0226], [MS-NLMP] and RFC 4559 for the login,
RFC 5929 for its binding to TLS. The NTLM acceptor is pyspnego's, with accounts in a file of its own.
"""

import base64
import contextlib
import hashlib
import os
import re
import socket
import ssl
import struct
import threading
import uuid
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape, quoteattr

import spnego
import spnego.channel_bindings

from tests.support.wsman_shells import Shell

NAMES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "x": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    "f": "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault",
}
SHELL = NAMES["rsp"]
CMD = f"{SHELL}/cmd"
TRANSFER = NAMES["x"]
ENVELOPE_MAX_BYTES = 512_000
TIMED_OUT, NO_SHELL, DENIED, QUOTA, ENVELOPE, NO_RESOURCE = (
    2150858793,
    2150858843,
    5,
    2150859174,
    2150858997,
    2150858752,
)
BOUNDARY = b"--Encrypted Boundary"
_ENVIRONMENT = threading.Lock()
"""The acceptor finds its accounts through it."""


class FaultError(Exception):
    """Answered as one, with HTTP status 500."""

    def __init__(self, code, subcode, message):
        super().__init__(message)
        self.code, self.subcode = code, subcode


class WsmanServer:
    """`with WsmanServer(folder) as host:`. `tls`: an authority of tests.support.tls. What was asked is in `seen`."""

    def __init__(self, folder, tls=None, offers=("Negotiate",), accounts=None):
        self.tls, self.offers = tls, offers
        self.accounts = {"admin": "pass-w0rd-of-admin"} if accounts is None else accounts
        self.file = folder / f"ntlm-{uuid.uuid4().hex}"
        self.programs, self.ran, self.commands, self.shells = {}, [], [], {}
        self.seen = []
        """(action, connection number, encrypted)"""
        self.logins = []
        self.bound_to = None
        """Another certificate than that of the connection, which a login has to be bound to."""
        self.connections = 0
        self.fault = {}
        """Action → function(handler, envelope), called instead of the action; None: go on."""
        self.lock = threading.Lock()

    def __enter__(self):
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.host = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        for shell in tuple(self.shells.values()):
            shell.end()
        self.server.shutdown()
        self.server.server_close()
        self.file.unlink(missing_ok=True)

    def acceptor(self, bindings):
        """A login by NTLM begins."""
        lines = []
        for name, password in self.accounts.items():
            domain, _, user = name.rpartition("\\")
            lines.append(f"{domain}:{user}:{password}\n")
        self.file.write_text("".join(lines))
        with self._own_accounts():
            return spnego.server(protocol="ntlm", channel_bindings=bindings)

    def accept(self, acceptor, token):
        with self._own_accounts():
            return acceptor.step(token)

    @contextlib.contextmanager
    def _own_accounts(self):
        with _ENVIRONMENT:
            before = os.environ.get("NTLM_USER_FILE")
            os.environ["NTLM_USER_FILE"] = str(self.file)
            try:
                yield
            finally:
                if before is None:
                    del os.environ["NTLM_USER_FILE"]
                else:
                    os.environ["NTLM_USER_FILE"] = before

    @property
    def actions(self):
        return [action for action, _, _ in self.seen]


def _check(body, envelope):
    if len(body) > ENVELOPE_MAX_BYTES:
        raise FaultError(ENVELOPE, "w:EncodingLimit", "The maximum envelope size was exceeded.")
    uri = envelope.findtext("s:Header/w:ResourceURI", "", NAMES)
    if uri != CMD:
        raise FaultError(NO_RESOURCE, "a:DestinationUnreachable", f"There is no resource {uri}.")


def _binding(chain):
    pem = re.search(r"-----BEGIN CERT.*?-----END CERTIFICATE-----", chain.read_text(), re.DOTALL)[0]
    data = b"tls-server-end-point:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    return spnego.channel_bindings.GssChannelBindings(application_data=data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def get_request(self):
        made, address = super().get_request()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made, address

    def handle_error(self, request, client_address):
        """A client that went away."""


class _Handler(BaseHTTPRequestHandler):
    """One connection, and who logged in on it."""

    protocol_version = "HTTP/1.1"
    server_version = "Microsoft-HTTPAPI/2.0"
    sys_version = ""

    def setup(self):
        host = self.server.host
        with host.lock:
            host.connections += 1
            self.number = host.connections
        self.context, self.user, self.bindings, self.encrypted = None, None, None, False
        if host.tls:
            self.request.settimeout(20)
            self.request = host.tls.server_context().wrap_socket(self.request, server_side=True)
            self.bindings = _binding(host.bound_to or host.tls.chain)
        super().setup()

    def finish(self):
        with contextlib.suppress(OSError):
            super().finish()
        if self.server.host.tls:
            self.request.close()  # the server closes what it was made from

    def handle(self):
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *_):
        pass

    # ---- HTTP -------------------------------------------------------------------------------------------------------

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/wsman":
            return self.answer(404)
        extra = {}
        if not self.user or "Authorization" in self.headers:
            done, extra = self.log_in()
            if not done:
                return self.answer(401, headers=extra)
        if not body:
            return self.answer(200, headers=extra)
        self.encrypted = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if not self.server.host.tls and not self.encrypted and self.context:
            return self.answer(500, b"unencrypted traffic is disabled", extra)
        return self.message(self.unsealed(body) if self.encrypted else body, extra)

    def answer(self, status, body=b"", headers=(), content_type="application/soap+xml;charset=UTF-8"):
        self.send_response(status)
        for name, value in [*dict(headers).items()] if isinstance(headers, dict) else headers:
            self.send_header(name, value)
        if status == 401 and not headers:
            for scheme in self.server.host.offers:
                self.send_header("WWW-Authenticate", 'Basic realm="WSMAN"' if scheme == "Basic" else scheme)
        if body:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        """In the middle of it, without an answer."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        return False

    def log_in(self):
        """(whether it is done, headers of the answer)"""
        host = self.server.host
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic" and "Basic" in host.offers:
            name, _, password = base64.b64decode(value).decode().partition(":")
            if host.accounts.get(name) == password:
                self.user = name
                host.logins.append((name, "basic"))
                return True, {}
            return False, {}
        if scheme not in host.offers or scheme not in {"Negotiate", "NTLM"}:
            return False, {}
        token = base64.b64decode(value)
        if token[8:12] == b"\1\0\0\0":  # NEGOTIATE_MESSAGE
            self.context = host.acceptor(self.bindings)
        try:
            out = host.accept(self.context, token)
        except spnego.exceptions.SpnegoError:
            self.context = None
            return False, {}
        if out:
            return False, {"WWW-Authenticate": f"{scheme} {base64.b64encode(out).decode()}"}
        self.user = self.context.client_principal
        host.logins.append((self.user, "ntlm"))
        return True, {}

    # ---- encrypted messages, [MS-WSMV] 2.2.9.1 ----------------------------------------------------------------------

    def unsealed(self, body):
        kind, _, rest = body.removeprefix(BOUNDARY + b"\r\n").partition(BOUNDARY + b"\r\n")
        assert b"application/HTTP-SPNEGO-session-encrypted" in kind, kind
        length = int(re.search(rb"Length=(\d+)", kind)[1])
        data = rest.removeprefix(b"\tContent-Type: application/octet-stream\r\n").removesuffix(BOUNDARY + b"--\r\n")
        size = struct.unpack("<I", data[:4])[0]
        message = self.context.unwrap_winrm(data[4 : 4 + size], data[4 + size :])
        assert len(message) == length
        return message

    def sealed(self, message):
        header, data, _ = self.context.wrap_winrm(message)
        kind = f"\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(message)}\r\n"
        return b"".join((
            BOUNDARY, b"\r\n", kind.encode(), BOUNDARY, b"\r\n\tContent-Type: application/octet-stream\r\n",
            struct.pack("<I", len(header)), header, data, BOUNDARY, b"--\r\n",
        ))  # fmt: skip

    # ---- WS-Management ----------------------------------------------------------------------------------------------

    def message(self, body, extra):
        host = self.server.host
        envelope = ET.fromstring(body)
        action = envelope.findtext("s:Header/a:Action", "", NAMES)
        short = action.rpartition("/")[2]
        host.seen.append((short, self.number, self.encrypted))
        self.related = envelope.findtext("s:Header/a:MessageID", "", NAMES)
        try:
            _check(body, envelope)
            override = host.fault.get(short)
            made = override(self, envelope) if override else None
            if made is None:
                made = _ACTIONS[action](self, envelope)
        except FaultError as error:
            return self.reply(500, _fault(error), "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", extra)
        if made is False:  # the override has answered, or hung up
            return None
        return self.reply(200, made, f"{action}Response", extra)

    def reply(self, status, body, action, extra=(), related=None):
        spaces = " ".join(f"xmlns:{short}={quoteattr(uri)}" for short, uri in NAMES.items())
        text = (
            f'<s:Envelope xml:lang="en-US" {spaces}><s:Header><a:Action>{action}</a:Action>'
            f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><a:RelatesTo>{related or self.related}</a:RelatesTo>"
            f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        ).encode()
        if self.encrypted:
            kind = (
                'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"'
            )
            return self.answer(status, self.sealed(text), extra or {}, kind)
        return self.answer(status, text, extra or {})

    def shell(self, envelope):
        wanted = envelope.findtext("s:Header/w:SelectorSet/w:Selector[@Name='ShellId']", "", NAMES)
        found = self.server.host.shells.get(wanted)
        if found is None:
            raise FaultError(
                NO_SHELL,
                "w:InvalidSelectors",
                "The request for the Windows Remote Shell with ShellId "
                f"{wanted} failed because the shell was not found on the server.",
            )
        return found

    def create(self, envelope):
        options = {each.get("Name"): each.text for each in envelope.iterfind("s:Header/w:OptionSet/w:Option", NAMES)}
        idle = envelope.findtext("s:Body/rsp:Shell/rsp:IdleTimeOut", "", NAMES)
        shell = Shell(self.server.host, self.user, options, idle)
        self.server.host.shells[shell.id] = shell
        return (
            f"<x:ResourceCreated><a:Address>http://127.0.0.1/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>{CMD}"
            f'</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">{shell.id}</w:Selector></w:SelectorSet>'
            f"</a:ReferenceParameters></x:ResourceCreated><rsp:Shell><rsp:ShellId>{shell.id}</rsp:ShellId><rsp:ResourceUri>"
            f"{CMD}</rsp:ResourceUri><rsp:Owner>{escape(self.user)}</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>"
            "<rsp:IdleTimeOut>PT180.000S</rsp:IdleTimeOut><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>"
            "stdout stderr</rsp:OutputStreams></rsp:Shell>"
        )

    def command(self, envelope):
        shell = self.shell(envelope)
        line = envelope.findtext("s:Body/rsp:CommandLine/rsp:Command", "", NAMES)
        arguments = [each.text or "" for each in envelope.iterfind("s:Body/rsp:CommandLine/rsp:Arguments", NAMES)]
        command = shell.start(line, arguments)
        return f"<rsp:CommandResponse><rsp:CommandId>{command.id}</rsp:CommandId></rsp:CommandResponse>"

    def send(self, envelope):
        shell = self.shell(envelope)
        stream = envelope.find("s:Body/rsp:Send/rsp:Stream", NAMES)
        command = shell.commands[stream.get("CommandId")]
        with command.changed:
            command.stdin += base64.b64decode(stream.text or "")
            command.stdin_ended = command.stdin_ended or stream.get("End", "").lower() == "true"
            command.changed.notify_all()
        return "<rsp:SendResponse/>"

    def receive(self, envelope):
        shell = self.shell(envelope)
        wanted = envelope.find("s:Body/rsp:Receive/rsp:DesiredStream", NAMES)
        seconds = float(envelope.findtext("s:Header/w:OperationTimeout", "PT60S", NAMES)[2:-1])
        command = shell.commands[wanted.get("CommandId")]
        got = command.receive(seconds)
        if got is None:
            raise FaultError(
                TIMED_OUT, "w:TimedOut",
                "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
            )  # fmt: skip
        pieces, over = got
        parts = [
            f'<rsp:Stream Name="{name}" CommandId="{command.id}">{base64.b64encode(piece).decode()}</rsp:Stream>'
            for name, piece in pieces.items()
            if piece
        ]
        if over:
            parts += [f'<rsp:Stream Name="{name}" CommandId="{command.id}" End="true"/>' for name in pieces]
        code = f"<rsp:ExitCode>{command.exit_code}</rsp:ExitCode>" if over and command.exit_code is not None else ""
        state = f"{SHELL}/CommandState/{'Done' if over else 'Running'}"
        parts.append(f'<rsp:CommandState CommandId="{command.id}" State="{state}">{code}</rsp:CommandState>')
        return f"<rsp:ReceiveResponse>{''.join(parts)}</rsp:ReceiveResponse>"

    def signal(self, envelope):
        shell = self.shell(envelope)
        signal = envelope.find("s:Body/rsp:Signal", NAMES)
        code = signal.findtext("rsp:Code", "", NAMES).lower()
        shell.commands[signal.get("CommandId")].end(code.rpartition("/")[2])
        return "<rsp:SignalResponse/>"

    def delete(self, envelope):
        shell = self.shell(envelope)
        shell.end()
        del self.server.host.shells[shell.id]
        return ""


_ACTIONS = {
    f"{TRANSFER}/Create": _Handler.create,
    f"{TRANSFER}/Delete": _Handler.delete,
    f"{SHELL}/Command": _Handler.command,
    f"{SHELL}/Send": _Handler.send,
    f"{SHELL}/Receive": _Handler.receive,
    f"{SHELL}/Signal": _Handler.signal,
}


def _fault(error):
    side = "s:Receiver" if error.code in {TIMED_OUT, QUOTA} else "s:Sender"
    return (
        f"<s:Fault><s:Code><s:Value>{side}</s:Value><s:Subcode><s:Value>{error.subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{escape(str(error))} </s:Text></s:Reason><s:Detail>'
        f'<f:WSManFault Code="{error.code}" Machine="127.0.0.1"><f:Message>{escape(str(error))} </f:Message></f:WSManFault>'
        "</s:Detail></s:Fault>"
    )
