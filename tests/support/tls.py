"""A throwaway certificate authority for tests of TLS."""

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class ThrowawayAuthority:
    """`root` is its certificate (PEM), `chain` a server's key and certificate."""

    root: Path
    chain: Path

    def client_context(self):
        """Trusts this authority and nobody else."""
        return ssl.create_default_context(cafile=self.root)

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        return context


def throwaway_authority(folder, name):
    """Make an authority in `folder` with a server certificate for `name`, valid for an hour."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate(
        "Test root", root_key, root_key, [(x509.BasicConstraints(ca=True, path_length=None), True), (_SIGNS, True)]
    )
    leaf = _certificate(name, key, root_key, [(x509.SubjectAlternativeName([x509.DNSName(name)]), False)])
    authority = ThrowawayAuthority(folder / "root.pem", folder / "server.pem")
    authority.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    authority.chain.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    return authority


def _certificate(name, key, issuer_key, extensions):
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test root")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        # the strict verification of newer Pythons wants both identifiers, and a key usage in the root
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())
