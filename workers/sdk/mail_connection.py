"""A mail server, as a connection names it: who logs in, how it is encrypted, who sends (contract 3.8)."""

from __future__ import annotations

from email.headerregistry import Address
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from easyalert.errors import CredentialError, InvalidParameter
from workers.sdk.connection import Connection, OwnersFlag, OwnersOnly, SecretText
from workers.sdk.mail import addresses
from workers.sdk.parameters import Line


class EmailConnection(Connection):
    """The server, who logs in, and who sends."""

    address: ClassVar = ("smtpHost", "host")
    needs_entry: ClassVar = False

    smtp_host: Line | None = Field(default=None, alias="smtpHost", description="The server.")
    host: Line | None = Field(default=None, description="As `smtpHost`.")
    smtp_port: int | None = Field(default=None, alias="smtpPort", ge=1, le=65535, description="Its port; 587.")
    port: int | None = Field(default=None, ge=1, le=65535, description="As `smtpPort`.")
    username: Line | None = Field(default=None, description="Without, there is no login.")
    password: SecretText | None = Field(default=None, description="Of that account.")
    security: str | None = Field(default=None, description="`ssl`, `starttls`; anything else: no encryption.")
    use_tls: bool | None = Field(default=None, alias="useTls", description="Counts where `security` is not given.")
    use_tls_too: bool | None = Field(default=None, alias="useTLS", description="As `useTls`.")
    from_address: Line | None = Field(default=None, alias="fromAddress", description="The sender; the username.")
    from_name: str = Field(default="", alias="fromName", max_length=200, description="The sender's name.")
    ca_certificate: Annotated[str | None, OwnersOnly()] = Field(
        default=None,
        alias="caCertificate",
        description="Authorities to trust instead of the machine's, PEM. Counts in the vault's entry only.",
    )
    verify_tls: OwnersFlag = Field(
        default=True, alias="verifyTls", description="False: any certificate will do. Counts in the vault's entry only."
    )

    @model_validator(mode="after")
    def _a_host(self) -> EmailConnection:
        if not self.server:
            raise ValueError("needs a 'host' (or 'smtpHost')")
        return self

    @property
    def server(self) -> str:
        """Its name or address."""
        return self.smtp_host or self.host or ""

    @property
    def on_port(self) -> int:
        """Its port."""
        return self.smtp_port or self.port or 587

    @property
    def encryption(self) -> Literal["ssl", "starttls", "none"]:
        """What the rules above come to."""
        if self.security is not None:
            named = self.security.strip().lower()
            return "ssl" if named == "ssl" else "starttls" if named == "starttls" else "none"
        wanted = self.use_tls if self.use_tls is not None else self.use_tls_too
        if wanted is False:
            return "none"
        return "ssl" if self.on_port == 465 else "starttls"

    def sender(self) -> Address:
        """Raises CredentialError when there is none."""
        try:
            found = addresses(self.from_address or self.username or "", "fromAddress")
        except InvalidParameter as error:
            raise CredentialError(f"the sender of this connection cannot be used: {error}") from None
        if len(found) != 1:
            raise CredentialError("the connection has no sender: add 'fromAddress' to it or to its vault entry")
        return Address(self.from_name or found[0].display_name, found[0].username, found[0].domain)
