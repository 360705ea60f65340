"""What the vault's entry of an http connection may hold, and where it may be sent (contract 3.3)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from easyalert.errors import EasyAlertError, PolicyRefused
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import Target, parse_target
from workers.sdk.connection import Connection, OwnersOnly, SecretText, read_connection
from workers.sdk.context import Context
from workers.sdk.http_request import auth_header
from workers.sdk.parameters import Count, Line
from workers.sdk.tls import own_context, tls_context

PEM_MAX_CHARS = 262_144

_Line = Annotated[Line, OwnersOnly()]
_Text = Annotated[str, OwnersOnly(), Field(max_length=PEM_MAX_CHARS)]
_Secret = Annotated[SecretText, OwnersOnly(), Field(max_length=PEM_MAX_CHARS)]


class HttpConnection(Connection):
    """All of it counts in the vault's entry only. Its address is an origin, which `access_to` looks after."""

    address: ClassVar = ()
    needs_entry: ClassVar = False

    base_url: _Line | None = Field(
        default=None, alias="baseUrl", description="Where the credential belongs (see above)."
    )
    url: _Line | None = Field(default=None, description="As `baseUrl`.")
    host: _Line | None = Field(default=None, description="As `baseUrl`; https is assumed.")
    port: Annotated[Count, OwnersOnly()] | None = Field(default=None, le=65_535, description="With `host`.")
    auth_type: _Line | None = Field(
        default=None,
        alias="authType",
        description="bearer, basic, apiKey or none; not given: by the first of `token`, `password`, `apiKey`.",
    )
    token: _Secret | None = Field(default=None, description="Sent as `Authorization: Bearer`.")
    username: _Text | None = Field(default=None, description="For basic.")
    password: _Secret | None = Field(default=None, description="For basic.")
    header_name: _Line | None = Field(default=None, alias="headerName", description="For apiKey; X-API-Key.")
    api_key: _Secret | None = Field(default=None, alias="apiKey", description="Sent in that header.")
    client_certificate: _Text | None = Field(
        default=None,
        alias="clientCertificate",
        description="The agent's own certificate for this server, PEM, with its chain.",
    )
    client_key: _Secret | None = Field(default=None, alias="clientKey", description="Its private key, PEM.")
    client_key_passphrase: _Secret | None = Field(
        default=None, alias="clientKeyPassphrase", description="Of `clientKey`, when that is encrypted."
    )
    ca_certificate: _Text | None = Field(
        default=None, alias="caCertificate", description="Authorities to trust instead of the machine's, PEM."
    )

    @model_validator(mode="after")
    def _key_and_certificate(self) -> HttpConnection:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("needs 'clientCertificate' and 'clientKey' together; one is missing")
        return self


@dataclass(frozen=True)
class Access:
    """What goes along to the origin of a job, and to no other."""

    header: tuple[bytes, bytes] | None = None
    """With the credential; None: without."""
    tls: ssl.SSLContext | None = None
    """With the connection's certificates; None: the machine's trust, and no certificate of our own."""
    own_certificate: bool = False
    """Whether `tls` has one."""


def access_to(ctx: Context, target: Target, addresses: tuple[str, ...]) -> Access:
    """`addresses`: what may say where the credential belongs, the vault's entry first.

    Raises PolicyRefused when it belongs to another origin or to none, CredentialError for one that cannot be used.
    """
    connection = read_connection(ctx, HttpConnection)
    header = auth_header(ctx.credential() or {}, str(ctx.connection_id))
    if header is not None or connection.client_certificate is not None:
        _keep_to_origin(ctx, target, addresses)
    if target.scheme != "https":
        return Access(header)
    return Access(header, _tls(ctx, connection), connection.client_certificate is not None)


def _keep_to_origin(ctx: Context, target: Target, addresses: tuple[str, ...]) -> None:
    address = next((address for address in addresses if address), "")
    if not address:
        raise PolicyRefused(
            f"the credential of connection '{ctx.connection_id}' is bound to no origin, so it is not sent to "
            f"{target.short_origin}; add baseUrl to the connection or to its vault entry"
        )
    try:
        bound = parse_target(address, NetworkPolicy(allow_private=True), parameter="baseUrl").origin
    except EasyAlertError as error:
        raise PolicyRefused(f"the address of connection '{ctx.connection_id}' cannot be read: {error}") from None
    if bound != target.origin:
        raise PolicyRefused(
            f"the credential of connection '{ctx.connection_id}' belongs to {bound} and is not sent to {target.origin}"
        )
    if not addresses[0]:
        ctx.bind_credential(bound)


def _tls(ctx: Context, connection: HttpConnection) -> ssl.SSLContext | None:
    if connection.client_certificate is None or connection.client_key is None:
        if connection.ca_certificate is None:
            return None
        return tls_context(connection.ca_certificate, verify=True, connection_id=ctx.connection_id)
    return own_context(
        connection.client_certificate,
        connection.client_key,
        passphrase=connection.client_key_passphrase,
        ca_certificate=connection.ca_certificate,
        connection_id=ctx.connection_id,
    )
