from __future__ import annotations

import ssl

import pytest

from easyalert.errors import CredentialError
from easyalert.netguard.transport import no_trust, system_trust
from tests.support.tls import throwaway_authority
from workers.sdk.tls import tls_context, tls_failure


def test_the_machines_trust_is_the_default():
    assert tls_context(None, verify=True, connection_id="c") is system_trust()


def test_without_verification_anybody_will_do():
    assert tls_context(None, verify=False, connection_id="c") is no_trust()
    assert no_trust().verify_mode is ssl.CERT_NONE


def test_an_authority_of_the_connections_own_is_the_only_one(tmp_path):
    context = tls_context(throwaway_authority(tmp_path, "localhost").root.read_text(), verify=True, connection_id="c")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("text", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_named(text):
    with pytest.raises(CredentialError, match="'caCertificate' of connection 'c' is no certificate"):
        tls_context(text, verify=True, connection_id="c")


def test_failures_say_where_and_what_to_do():
    untrusted = ssl.SSLCertVerificationError()
    untrusted.verify_message = "self-signed certificate"
    assert "h:465 is not trusted (self-signed certificate); add its authority" in str(tls_failure(untrusted, "h:465"))
    assert str(tls_failure(ssl.SSLError(), "h:465")).startswith("no TLS with h:465")
