"""TLS to a connection's host: who is trusted, and what is said when a certificate is not."""

from __future__ import annotations

import ssl

from easyalert.errors import CredentialError, TargetError
from easyalert.netguard.transport import no_trust, system_trust


def tls_context(ca_certificate: str | None, *, verify: bool, connection_id: str | None) -> ssl.SSLContext:
    """The machine's trusted roots, or `ca_certificate` (PEM) alone; without `verify`, anybody.

    Raises CredentialError for what is no certificate.
    """
    if not verify:
        return no_trust()
    if ca_certificate is None:
        return system_trust()
    try:
        context = ssl.create_default_context(cadata=ca_certificate or "\n")  # an empty text would be "not given"
    except (ssl.SSLError, ValueError):
        raise CredentialError(f"'caCertificate' of connection '{connection_id}' is no certificate in PEM") from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as `system_trust` has it
    return context


def tls_failure(error: ssl.SSLError, where: str) -> TargetError:
    """What to say of a handshake that failed. `where` is host and port."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TargetError(
            f"the certificate of {where} is not trusted ({error.verify_message}); add its authority as 'caCertificate' "
            "to the connection's vault entry"
        )
    return TargetError(f"no TLS with {where} ({getattr(error, 'reason', None) or type(error).__name__})")
