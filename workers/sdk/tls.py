"""TLS to a connection's host: who is trusted, who we are, and what is said when a certificate is not trusted."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator

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


def own_context(
    certificate: str,
    key: str,
    *,
    passphrase: str | None,
    ca_certificate: str | None,
    connection_id: str | None,
) -> ssl.SSLContext:
    """As `tls_context` with verification, and with a certificate of our own (both PEM) for who asks for one.

    Raises CredentialError for certificate, key and passphrase that do not fit together, and as `tls_context` does.
    """
    context = (
        system_trust.__wrapped__()  # another than everybody's
        if ca_certificate is None
        else tls_context(ca_certificate, verify=True, connection_id=connection_id)
    )
    whose = f"of connection '{connection_id}'"
    try:
        load_own_certificate(context, certificate, key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CredentialError(f"'clientKey' {whose} is not the key of its 'clientCertificate'") from None
        raise CredentialError(
            f"'clientCertificate' and 'clientKey' {whose} cannot be read; both are PEM, and an encrypted key needs its "
            "'clientKeyPassphrase'"
        ) from None
    except ValueError:  # a passphrase of more than a thousand characters
        raise CredentialError(f"'clientKeyPassphrase' {whose} cannot be used; it is too long") from None
    return context


def load_own_certificate(context: ssl.SSLContext, certificate: str, key: str, passphrase: str | None = None) -> None:
    """Both PEM. They touch no disk, though the library takes files only. Raises ssl.SSLError and ValueError."""
    with _in_memory(f"{certificate}\n{key}\n") as path:
        # without an answer an encrypted key would be asked for on the terminal
        context.load_cert_chain(path, password=lambda: passphrase or "")


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of a file that holds `text` and is on no disk, for as long as the body runs."""
    descriptor = os.memfd_create("easyalert", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def tls_failure(error: ssl.SSLError, where: str) -> TargetError:
    """What to say of a handshake that failed. `where` is host and port."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TargetError(
            f"the certificate of {where} is not trusted ({error.verify_message}); add its authority as 'caCertificate' "
            "to the connection's vault entry"
        )
    return TargetError(f"no TLS with {where} ({getattr(error, 'reason', None) or type(error).__name__})")
