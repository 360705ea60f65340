"""A Windows host, as a connection names it: where it listens, who logs in and how (contract 3.11)."""

from __future__ import annotations

import codecs
import importlib.util
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from workers.sdk.connection import Connection, OwnersFlag, OwnersOnly, SecretText
from workers.sdk.parameters import Line

Method = Literal["ntlm", "basic", "kerberos"]
_OTHER_NAMES: Final[dict[str, Method]] = {"plaintext": "basic", "ssl": "basic"}
"""What some clients call a login by name and password, with the encryption in the name; here `useSsl` says that."""
UTF_8: Final = 65001


class WinrmConnection(Connection):
    """Where, who, and how."""

    host: Line = Field(description="Name or address of the Windows host.")
    port: int | None = Field(default=None, ge=1, le=65535, description="5986 with TLS, else 5985.")
    username: Line = Field(description="`name`, `DOMAIN\\name` or `name@domain`.")
    password: SecretText = Field(min_length=1, description="Of that account.")
    use_ssl: bool = Field(default=False, alias="useSsl", description="HTTPS instead of HTTP.")
    transport: Method = Field(
        default="ntlm",
        description=(
            "How to log in: `ntlm`, `basic`; `kerberos` where the agent has pyspnego's extra of that name. Over HTTP "
            "the first and the last encrypt every message."
        ),
    )
    codepage: int = Field(
        default=UTF_8, ge=1, le=65535, description="Of the remote console, and so of what it prints; UTF-8."
    )
    ca_certificate: Annotated[str | None, OwnersOnly()] = Field(
        default=None,
        alias="caCertificate",
        description="Authorities to trust instead of the machine's, PEM. Counts in the vault's entry only.",
    )
    verify_tls: OwnersFlag = Field(
        default=True, alias="verifyTls", description="False: any certificate will do. Counts in the vault's entry only."
    )
    allow_unencrypted: OwnersFlag = Field(
        default=False,
        alias="allowUnencrypted",
        description="True: `basic` over HTTP, password and all in clear text. Counts in the vault's entry only.",
    )

    @field_validator("transport", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        name = value.strip().lower() if isinstance(value, str) else ""
        name = _OTHER_NAMES.get(name, name)
        if name in {"negotiate", "credssp", "certificate"}:
            raise ValueError(f"is {name}, which this agent does not speak; use ntlm (or basic with useSsl)")
        if name not in {"ntlm", "basic", "kerberos"}:
            raise ValueError("must be ntlm, basic or kerberos")
        return name

    @field_validator("codepage")
    @classmethod
    def _decodable(cls, value: int) -> int:
        codec_of(value)
        return value

    @model_validator(mode="after")
    def _usable(self) -> WinrmConnection:
        if self.transport == "kerberos" and not all(map(importlib.util.find_spec, ("gssapi", "krb5"))):
            raise ValueError("has the transport kerberos, for which this agent lacks pyspnego[kerberos]; use ntlm")
        if self.transport == "basic" and not self.use_ssl and not self.allow_unencrypted:
            raise ValueError(
                "has the transport basic without useSsl: that sends the password in clear text and is refused; set "
                "useSsl, or ntlm, or 'allowUnencrypted': true in the vault's entry"
            )
        return self

    @property
    def on_port(self) -> int:
        """Its port."""
        return self.port or (5986 if self.use_ssl else 5985)


def codec_of(codepage: int) -> codecs.CodecInfo:
    """Python's codec for a Windows code page. Raises ValueError, as a sentence for people, when there is none."""
    try:
        return codecs.lookup("utf-8" if codepage == UTF_8 else f"cp{codepage}")
    except LookupError:
        raise ValueError("is a code page this agent cannot decode; use 65001 (UTF-8)") from None
