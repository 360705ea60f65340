"""Runs inside `tests.support.own_network`: DNS, web servers on every address, and http jobs in real workers.

Reads from stdin `{"zone": …, "homes": [{"settings": {…}, "jobs": [{"name", "params", "credential"}]}]}` and writes, for
each job's name, `{"result", "connections": [[address, port]], "requests": [[address, head]], "asked", "opened"}`.
`opened` is the kernel's count of TCP connections that were begun, to whatever port.
"""

import contextlib
import ipaddress
import json
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.agent_home import API_KEY, AgentHome
from tests.support.dns_server import DnsServer
from tests.support.own_network import DNS
from tests.support.tls import throwaway_authority
from tests.workers.chain import Chain
from vault.key import VaultKey
from vault.store import Vault

PORTS = {80: False, 8080: False, 443: True, 8443: True}


class Web:
    """Answers on every address: `?to=URL&status=N` with a redirect, else with the address it was reached at."""

    def __init__(self, tls):
        self.connections = []
        self.requests = []
        self._tls = tls
        for port, secure in PORTS.items():
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=50)
            threading.Thread(target=self._accept, args=(listener, secure), daemon=True).start()

    def _accept(self, listener, secure):
        while True:
            connection, _ = listener.accept()
            address, port = connection.getsockname()[:2]
            literal = ipaddress.ip_address(address)
            shown = str(literal.ipv4_mapped or literal)
            self.connections.append((shown, port))
            threading.Thread(target=self._talk, args=(connection, shown, secure), daemon=True).start()

    def _talk(self, connection, address, secure):
        connection.settimeout(10)
        with connection, contextlib.suppress(OSError):  # clients hang up in the middle of a handshake
            if secure:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                head = b"".join(iter(stream.readline, b"\r\n")).decode()
                self.requests.append((address, head))
                query = parse_qs(urlsplit(head.split(" ")[1]).query)
                extra = f"Location: {query['to'][0]}\r\n" if "to" in query else ""
                body = f"reached {address}"
                connection.sendall(
                    f"HTTP/1.1 {query.get('status', ['302' if extra else '200'])[0]} Word\r\n{extra}"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
                )


def opened():
    names, values = (
        line.split() for line in Path("/proc/self/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    )
    return int(values[names.index("ActiveOpens")])


def run_home(folder, given, web, dns, root):
    home = AgentHome(folder, "http://127.0.0.1:1", **given["settings"])
    # What the owner's shell may hold and the guard must not heed.
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://10.0.0.5:8080")
    home.values |= {"ssl_cert_file": root, **proxies}
    home.start_redis()
    chain = Chain(home)
    vault = Vault(home.settings.vault_path, VaultKey(API_KEY))
    for job in given["jobs"]:
        if job.get("credential"):
            vault.put(job["name"], job["credential"])
    chain.start()
    try:
        for job in given["jobs"]:
            for log in (web.connections, web.requests, dns.asked):
                log.clear()
            before = opened()
            key = chain.send(
                "http.request", job["params"], connection_id=job["name"] if job.get("credential") else None
            )
            result = chain.result(key, within=30)
            seen = {"connections": web.connections, "requests": web.requests, "asked": dns.asked}
            yield job["name"], {"result": result, "opened": opened() - before, **{k: list(v) for k, v in seen.items()}}
    finally:
        home.close()


def main():
    given = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="ea-") as folder:
        authority = throwaway_authority(Path(folder), "*.ea.example")
        dns = DnsServer(DNS, given["zone"])
        web = Web(authority.server_context())
        answers = {}
        for number, home in enumerate(given["homes"]):
            answers.update(run_home(Path(folder) / f"h{number}", home, web, dns, authority.root))
    json.dump(answers, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the servers' threads wait for ever


if __name__ == "__main__":
    main()
