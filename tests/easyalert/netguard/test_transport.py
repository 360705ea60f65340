"""The guarded client against real sockets: not one connection may reach an address that was not judged."""

import asyncio
import ipaddress
import socket
import ssl
import struct

import httpcore
import httpx
import pytest

from easyalert.errors import AddressRefused, InvalidParameter, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.transport import GuardedBackend, guarded_client, system_trust
from tests.support.raw_http import RawHttpServer as Server
from tests.support.tls import throwaway_authority

GOOD, INTERNAL = "127.0.0.2", "127.0.0.3"
ONLY_GOOD = NetworkPolicy(allowed_networks=(ipaddress.ip_network(f"{GOOD}/32"),))


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return throwaway_authority(tmp_path_factory.mktemp("tls"), "guarded.example")


class Flipping:
    """A resolver that gives the next answer at each look-up, and the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def lookup(self, host, port):
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def client(resolver, policy=ONLY_GOOD, **options):
    return guarded_client(policy, resolver=resolver, **{"timeout": 5.0, **options})


async def plain_exchange():
    server = Server()
    async with server.running(GOOD) as port, client(Flipping([GOOD])) as http:
        response = await http.get(f"http://guarded.example:{port}/path?q=1")
    return server, port, response


def run(coroutine):
    return asyncio.run(coroutine)


def test_host_stays_the_name():
    server, port, response = run(plain_exchange())
    assert response.text == "ok"
    assert f"host: guarded.example:{port}\r\n" in server.requests[0].lower()
    assert server.requests[0].startswith("GET /path?q=1 ")


def test_tls_name_and_certificate_check_stay_the_name(tls):
    trust, make = tls.client_context(), tls.server_context

    async def go():
        server = Server(tls=make())
        async with server.running(GOOD) as port, client(Flipping([GOOD]), verify=trust) as http:
            response = await http.get(f"https://guarded.example:{port}/")
            with pytest.raises(httpx.ConnectError, match=r"(?i)hostname mismatch"):
                await http.get(f"https://other.example:{port}/")
        return server, response

    server, response = run(go())
    assert response.status_code == 200
    assert server.names == ["guarded.example", "other.example"]
    assert len(server.requests) == 1


def test_an_unknown_authority_is_refused_unless_asked_otherwise(tls):
    async def go():
        server = Server(tls=tls.server_context())
        async with server.running(GOOD) as port:
            url = f"https://guarded.example:{port}/"
            async with client(Flipping([GOOD])) as http:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await http.get(url)
            async with client(Flipping([GOOD]), verify=False) as http:
                return await http.get(url)

    assert run(go()).status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_flips_to_an_internal_address_never_gets_a_connection_there(tls, scheme):
    """DNS rebinding: the second look-up answers with the internal address; each look-up is judged, none is repeated."""
    trust, make = tls.client_context(), tls.server_context

    async def go():
        public = Server(tls=make() if scheme == "https" else None)
        internal = Server(tls=make() if scheme == "https" else None)
        resolver = Flipping([GOOD], [INTERNAL])
        http = client(resolver, verify=trust)
        async with public.running(GOOD) as port, internal.running(INTERNAL, port), http:
            first = await http.get(f"{scheme}://guarded.example:{port}/")
            assert resolver.asked == 1
            with pytest.raises(AddressRefused, match=INTERNAL.replace(".", r"\.")):
                await http.get(f"{scheme}://guarded.example:{port}/")
        return public, internal, first

    public, internal, first = run(go())
    assert first.text == "ok"
    assert (public.connections, internal.connections) == (1, 0)


def test_a_mixed_answer_reaches_nobody():
    async def go():
        public, internal = Server(), Server()
        async with (
            public.running(GOOD) as port,
            internal.running(INTERNAL, port),
            client(Flipping([GOOD, INTERNAL])) as http,
        ):
            with pytest.raises(AddressRefused):
                await http.get(f"http://guarded.example:{port}/")
        return public, internal

    public, internal = run(go())
    assert (public.connections, internal.connections) == (0, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status):
    async def go():
        internal = Server()
        async with internal.running(INTERNAL) as port:
            answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: http://{INTERNAL}:{port}/\r\nContent-Length: 0\r\n\r\n"
            public = Server(answer.encode())
            async with public.running(GOOD) as public_port, client(Flipping([GOOD])) as http:
                url = f"http://guarded.example:{public_port}/"
                response = await http.get(url)
                with pytest.raises(AddressRefused):  # and a caller who follows them is judged hop by hop
                    await http.get(url, follow_redirects=True)
        return internal, response

    internal, response = run(go())
    assert response.status_code == status
    assert internal.connections == 0


@pytest.mark.parametrize(
    "host", [INTERNAL, "127.3", "2130706435", f"[::ffff:{INTERNAL}]", "localhost", "metadata.google.internal"]
)
def test_hosts_that_lead_inside_are_refused_before_a_connection(host):
    async def go():
        internal = Server()
        async with internal.running(INTERNAL) as port, client(Flipping([INTERNAL])) as http:
            with pytest.raises((AddressRefused, InvalidParameter)):
                await http.get(f"http://{host}:{port}/")
        return internal

    assert run(go()).connections == 0


def test_the_environments_proxy_is_ignored(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.9:9")
    assert run(plain_exchange())[2].status_code == 200


def test_a_silent_address_does_not_hold_up_the_next_one():
    async def go():
        server = Server()
        async with (
            server.running(GOOD) as port,
            client(Flipping(["127.0.0.4", GOOD]), NetworkPolicy(allow_private=True)) as http,
        ):
            return await http.get(f"http://guarded.example:{port}/")  # nobody listens on the first

    assert run(go()).status_code == 200


def test_nobody_listening_is_a_connect_error():
    async def go():
        server = Server()
        async with server.running(GOOD) as port:
            pass
        async with client(Flipping([GOOD, GOOD])) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://guarded.example:{port}/")

    run(go())


async def drip(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def say_nothing(reader, _writer):
    await reader.read()


@pytest.mark.parametrize("answer", [drip, say_nothing])
def test_one_limit_covers_the_whole_exchange(answer):
    async def go():
        started = asyncio.get_running_loop().time()
        async with Server(answer).running(GOOD) as port, client(Flipping([GOOD]), timeout=0.3) as http:
            with pytest.raises(httpx.ReadTimeout, match=r"0\.3 s"):
                await http.get(f"http://guarded.example:{port}/")
        return asyncio.get_running_loop().time() - started

    assert run(go()) < 2


def test_a_slow_look_up_counts_too():
    class Slow:
        async def lookup(self, host, port):
            await asyncio.sleep(30)

    async def go():
        async with client(Slow(), timeout=0.2) as http:
            with pytest.raises((httpx.ConnectTimeout, httpx.ReadTimeout)):
                await http.get("http://guarded.example/")

    run(go())


def test_a_stranger_at_the_other_end_is_refused():
    """If the dialled literal and the peer differ (a redirecting firewall, a bug), nothing is sent."""

    async def go():
        server = Server()
        async with server.running(GOOD) as port:
            backend = GuardedBackend(ONLY_GOOD, Flipping([GOOD]))
            plain = backend._plain

            class Elsewhere:
                async def connect_tcp(self, host, **options):
                    return await plain.connect_tcp(INTERNAL, **options)

            backend._plain = Elsewhere()
            internal = Server()
            async with internal.running(INTERNAL, port):
                with pytest.raises(AddressRefused, match="answered"):
                    await backend.connect_tcp("guarded.example", port, timeout=5)
        return internal

    assert run(go()).requests == []


def test_unix_sockets_are_refused():
    with pytest.raises(AddressRefused):
        run(GuardedBackend(ONLY_GOOD, Flipping([GOOD])).connect_unix_socket("/run/docker.sock"))


def test_a_name_without_addresses_is_the_targets_fault():
    async def go():
        async with client(Flipping([])) as http:
            with pytest.raises(TargetError):
                await http.get("http://guarded.example/")

    run(go())


def test_the_trust_store_is_loaded_once():
    assert system_trust() is system_trust()
    assert system_trust().verify_mode is ssl.CERT_REQUIRED


class Hasty:
    """Connects, has the other end tear the connection down, and hands it on when that has come."""

    def __init__(self, plain, tear_down):
        self._plain = plain
        self._tear_down = tear_down

    async def connect_tcp(self, *args, **options):
        stream = await self._plain.connect_tcp(*args, **options)
        self._tear_down()
        raw = stream.get_extra_info("socket")
        async with asyncio.timeout(10):
            while True:
                try:
                    raw.getpeername()
                except OSError:
                    return stream
                await asyncio.sleep(0)


def test_a_connection_that_is_reset_at_once_is_a_failed_one():
    async def go():
        with socket.create_server((GOOD, 0)) as listening:

            def reset():
                accepted, _ = listening.accept()
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()

            backend = GuardedBackend(ONLY_GOOD, Flipping([GOOD]))
            backend._plain = Hasty(backend._plain, reset)
            with pytest.raises(httpcore.ConnectError):
                await backend.connect_tcp("guarded.example", listening.getsockname()[1], timeout=10)

    run(go())
