"""A real SMTP server (aiosmtpd): STARTTLS, TLS, logins, and the ways in which servers say no."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    """Keeps what comes. `refuses`: recipient → the server's word, `data_answers`: text in a mail → the word for it; `hangs` and `cuts` say where in a mail it does."""

    def __init__(self):
        self.mails = []
        self.logins = []
        self.accounts = {"ada": "passw0rd-of-ada"}
        self.refuses = {}
        self.data_answer = "250 OK"
        self.data_answers = {}
        self.hung = 0
        self.hangs = None
        self.cuts = None
        self.reached = threading.Event()
        self.leave = threading.Event()

    def authenticate(self, server, session, envelope, mechanism, data):
        name, password = data.login.decode(), data.password.decode()
        self.logins.append((name, mechanism, server.transport.get_extra_info("sslcontext") is not None))
        return AuthResult(success=self.accounts.get(name) == password, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.reached.set()
        if self.hangs == "data":
            self.hung += 1
            await server.loop.run_in_executor(None, self.leave.wait, 60)
        if self.cuts == "data":
            server.transport.abort()
            return "250 too late"
        self.mails.append(envelope)
        said = next((word for text, word in self.data_answers.items() if text.encode() in envelope.content), None)
        return said or self.data_answer


class SmtpServer:
    """Serves on a free port until its block ends. `mode`: none, starttls or ssl."""

    def __init__(self, mode="none", tls=None, *, login=True, **options):
        self.handler = Handler()
        self._options = dict(options)
        if login:
            self._options |= {"authenticator": self.handler.authenticate, "auth_require_tls": False}
        if mode == "starttls":
            self._options |= {"tls_context": tls}
        self._tls = tls if mode == "ssl" else None
        self._serving = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.handler.leave.set()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _listen(self):
        def serve():
            self._serving.append(SMTP(self.handler, hostname="mail.example", loop=self._loop, **self._options))
            return self._serving[-1]

        return await self._loop.create_server(serve, "127.0.0.1", 0, ssl=self._tls)

    async def _end(self):
        self._server.close()
        await asyncio.sleep(0.1)  # the ends of clients that refused a certificate are still on their way
        for serving in self._serving:
            if serving.transport is not None:
                serving.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in later turns

    def read(self, index=0):
        """A mail as its reader sees it."""
        return email.message_from_bytes(self.handler.mails[index].content, policy=email.policy.default)
