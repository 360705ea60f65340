"""An SSH server, as a connection names it: where it is, who logs in and how (contract 3.1), and what lies before it."""

from __future__ import annotations

import functools
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from easyalert.errors import CredentialError
from easyalert.host_keys import SSH_PORT, split_host
from easyalert.netguard.target import check_host
from easyalert.ssh_library import asyncssh
from workers.sdk.connection import Connection, OwnersOnly, SecretText
from workers.sdk.parameters import Line

OwnersText = Annotated[str, OwnersOnly()]


def _blank_is_absent(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Given = Annotated[str | None, BeforeValidator(_blank_is_absent)]


class LogIn(BaseModel):
    """Who logs in at one host."""

    model_config = ConfigDict(
        extra="ignore", populate_by_name=True, frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )

    host: Line
    port: int = Field(default=SSH_PORT, ge=1, le=65535)
    username: Line = "root"
    private_key: Given = Field(default=None, alias="privateKey")
    passphrase: Given = None
    password: Given = None
    known_hosts_path: Given = Field(default=None, alias="knownHostsPath")
    strict_host_key_checking: Any = Field(default=True, alias="strictHostKeyChecking")

    def __repr__(self) -> str:
        return f"LogIn({self.where})"

    __str__ = __repr__

    @property
    def where(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @functools.cached_property
    def client_keys(self) -> list[asyncssh.SSHKey] | None:
        """The private key, None without one. Raises CredentialError when it cannot be used, or nothing is there.

        Kept: the passphrase of a key may take seconds of work.
        """
        if self.private_key is None:
            if self.password is None:
                raise CredentialError(
                    f"there is neither 'privateKey' nor 'password' for {self.username} at {self.where}: add one to the "
                    "connection's vault entry; keys and agents of this machine's accounts are not used"
                )
            return None
        text = self.private_key.replace("\r\n", "\n").strip() + "\n"
        try:
            return [asyncssh.import_private_key(text, self.passphrase)]
        except asyncssh.KeyEncryptionError:
            raise CredentialError(f"'passphrase' does not open the 'privateKey' for {self.where}") from None
        except (asyncssh.KeyImportError, ValueError, OverflowError) as error:
            if self.passphrase is None and "passphrase" in str(error).lower():
                raise CredentialError(
                    f"the 'privateKey' for {self.where} is encrypted: add its 'passphrase' to the vault entry"
                ) from None
            raise CredentialError(
                f"the 'privateKey' for {self.where} is no private key in PEM or OpenSSH form (a whole file, with its "
                "BEGIN and END lines)"
            ) from None


class SshConnection(Connection):
    """The server, who logs in, whom to believe that it is the server."""

    address: ClassVar = ("host",)

    host: Line = Field(description="The server.")
    port: int = Field(default=SSH_PORT, ge=1, le=65535, description="Its port.")
    username: Line = Field(default="root", description="Who logs in.")
    private_key: SecretText | None = Field(
        default=None, alias="privateKey", description="PEM or OpenSSH form; wins over `password`."
    )
    passphrase: SecretText | None = Field(default=None, description="Of `privateKey`.")
    password: SecretText | None = Field(
        default=None, description="For password and keyboard-interactive log-in, where there is no key."
    )
    sudo_password: SecretText | None = Field(
        default=None, alias="sudoPassword", description="What `sudo` asks for; the log-in's password is not tried."
    )
    known_hosts_path: OwnersText | None = Field(
        default=None,
        alias="knownHostsPath",
        description="File with the host keys to believe, whole path. Counts in the vault's entry only.",
    )
    strict_host_key_checking: Annotated[Any, OwnersOnly()] = Field(
        default=True,
        alias="strictHostKeyChecking",
        description="JSON `false`: any host key will do. Counts in the vault's entry only.",
    )
    jump_host: Annotated[Any, OwnersOnly()] = Field(
        default=None,
        alias="jumpHost",
        description="A host to go through: `host:port`, or an object with the fields of a connection; without a"
        " key or password of its own it is logged in to as the server is. Counts in the vault's entry only.",
    )

    @model_validator(mode="after")
    def _a_jump_that_can_be_read(self) -> SshConnection:
        self.jump()
        return self

    def log_in(self) -> LogIn:
        """At the server itself."""
        names = LogIn.model_fields
        return LogIn(**{name: getattr(self, name) for name in names if getattr(self, name) is not None})

    def jump(self) -> LogIn | None:
        """At the host before it. Raises ValueError with what is wrong with `jumpHost`."""
        if self.jump_host is None:
            return None
        fields = _split(self.jump_host) if isinstance(self.jump_host, str) else self.jump_host
        if not isinstance(fields, dict):
            raise ValueError("jumpHost must be 'host:port' or an object with a 'host'")  # noqa: TRY004 - pydantic's
        own = {name: value for name, value in fields.items() if _blank_is_absent(value) is not None}
        if not ({"privateKey", "password"} & set(own)):
            inherited = {"username": self.username, "privateKey": self.private_key, "password": self.password}
            own = {name: value for name, value in inherited.items() if value is not None} | own
            own.setdefault("passphrase", self.passphrase)
        try:
            return LogIn.model_validate(own)
        except ValidationError as error:
            item = error.errors(include_input=False, include_url=False, include_context=False)[0]
            name = ".".join(str(part) for part in item["loc"])
            problem = item["msg"].removeprefix("Value error, ")
            raise ValueError(f"jumpHost.{name}: {problem[:1].lower()}{problem[1:]}") from None


def _split(text: str) -> dict[str, Any]:
    host, port = split_host(text)
    return {"host": host} if port is None else {"host": host, "port": port}


def checked(log_in: LogIn) -> LogIn:
    """With the host in its one form. Raises AddressRefused for what is no host."""
    return log_in.model_copy(update={"host": check_host(log_in.host)})
