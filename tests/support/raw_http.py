"""A TCP server that answers with given bytes, or does what it is told: for what no well-behaved HTTP server does."""

import asyncio
import contextlib
import ssl

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class RawHttpServer:
    """Answers every request with `answer` (or does what the callable does) and remembers what it saw."""

    def __init__(self, answer=OK, tls=None):
        self.answer = answer
        self.tls = tls
        self.connections = 0
        self.requests = []
        self.names = []

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if callable(self.answer):
                await self.answer(reader, writer)
            else:
                writer.write(self.answer)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def running(self, host="127.0.0.1", port=0):
        if self.tls:
            self.tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        server = await asyncio.start_server(self.handle, host, port, ssl=self.tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
