"""What the tests of the http executor share: answers, a server that echoes, and running one job against a server."""

import asyncio
import json

from easyalert.netguard.judge import NetworkPolicy
from tests.support.raw_http import RawHttpServer
from workers.executors.http import HttpExecutor
from workers.sdk import Context, envelope

OPEN = NetworkPolicy(allow_private=True)
TOKEN = "t0ken-t0ken-t0ken"


def answer(status=200, body=b"", **headers):
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Word\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class Echo(RawHttpServer):
    """Answers with what it got, as JSON; remembers it in `seen`."""

    def __init__(self, **options):
        super().__init__(self.echo, **options)
        self.seen = []

    async def echo(self, reader, writer):
        head = self.requests[-1].split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.seen.append({"method": method, "path": path, "headers": headers, "body": body.decode()})
        shown = b"" if method == "HEAD" else json.dumps(self.seen[-1]).encode()
        writer.write(answer(body=shown, Content_Type="application/json"))
        await writer.drain()


def context(tmp_path, params, credential=None, *, name="request", policy=OPEN, **options):
    options = {"timeout_s": 30, "connection_id": "conn-1" if credential is not None else None, **options}
    return Context(
        job_id="job_1",
        action_type=f"http.{name}",
        params=params,
        tmp_dir=tmp_path,
        mark="mark",
        network_policy=policy,
        read_credential=lambda _: credential,
        **options,
    )


def fill(tree, address):
    return json.loads(json.dumps(tree).replace("SERVER", address))


def runner(tmp_path):
    """Runs one job against `server`; SERVER in parameters and credential stands for its address. Gives the envelope."""

    def go(server, params, credential=None, *, name="request", **options):
        async def job():
            async with server.running() as port:
                address = f"{'localhost' if server.tls else '127.0.0.1'}:{port}"
                ctx = context(tmp_path, fill(params, address), fill(credential, address), name=name, **options)
                return envelope(ctx.job_id, await HttpExecutor().run(ctx, name), ctx.redactor, 1)

        return asyncio.run(job())

    return go
