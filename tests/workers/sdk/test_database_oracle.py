"""Oracle: what its driver is told, and its TLS. That a query comes out right is not shown: there is no such server here."""

import ssl

import pytest

from tests.support.raw_tcp import served
from tests.support.tls import throwaway_authority
from tests.workers.sdk.test_database_session import session

pytestmark = pytest.mark.system


def test_its_driver_dials_the_judged_address():
    oracle = session("oracle").arguments()
    context = oracle.pop("ssl_context")
    assert oracle == {
        "host": "10.9.8.7", "port": 1521, "user": "u", "password": "p", "service_name": "d", "protocol": "tcps",
        "tcp_connect_timeout": 7.0, "retry_count": 0, "program": "easyalert-agent", "ssl_server_dn_match": False,
    }  # fmt: skip
    assert (context.server_name, context.verify_mode) == ("db.test", ssl.CERT_NONE)
    full = session("oracle", sslMode="verify-full").arguments()["ssl_context"]
    assert (full.verify_mode, full.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert session("oracle", sslMode="disable").arguments()["protocol"] == "tcp"


def test_oracles_driver_checks_the_name_of_the_connection_at_the_judged_address(ask, tmp_path_factory):
    """oracledb would look for the address in the certificate; the context asks for the name."""
    authority = throwaway_authority(tmp_path_factory.mktemp("tls"), "localhost")
    asked = []

    def handshake(made):
        context = authority.server_context()
        context.sni_callback = lambda _sock, name, _context: asked.append(name)
        try:
            with context.wrap_socket(made, server_side=True) as inner:
                return inner.recv(1000)
        except ssl.SSLError as error:
            return error

    def attempt(root):
        with served(handshake) as (port, seen):
            entry = {
                "databaseType": "oracle", "host": "localhost", "port": port, "dbname": "FREE",
                "password": "x-password", "sslMode": "verify-full", "caCertificate": root.read_text(),
            }  # fmt: skip
            recorded = ask(None, "SELECT 1 FROM DUAL", entry=entry, timeout=8)
        assert recorded["status"] == "error"
        return recorded, [each for each in seen if isinstance(each, bytes) and each]

    _, spoken = attempt(authority.root)
    assert spoken  # it was satisfied, and went on
    assert set(asked) == {"localhost"}
    other = throwaway_authority(tmp_path_factory.mktemp("other"), "localhost")
    _, spoken = attempt(other.root)
    assert not spoken
