"""A database's connection data (contract 3.10), and what it means for TLS."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import certifi
from pydantic import BeforeValidator, Field, field_validator

from easyalert.errors import AgentFault, CredentialError
from workers.sdk.connection import Connection, OwnersOnly, SecretText
from workers.sdk.context import Context
from workers.sdk.parameters import Count, Line

DatabaseType = Literal["postgresql", "mysql", "mssql", "oracle"]
TlsMode = Literal["disable", "require", "verify-ca", "verify-full"]

PORTS: Final[dict[DatabaseType, int]] = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "oracle": 1521}
TITLES: Final[dict[DatabaseType, str]] = {
    "postgresql": "PostgreSQL", "mysql": "MySQL", "mssql": "SQL Server", "oracle": "Oracle",
}  # fmt: skip
_USERS: Final[dict[DatabaseType, str]] = {"postgresql": "postgres", "mysql": "root", "mssql": "sa", "oracle": "system"}
_NAMES: Final[dict[DatabaseType, str]] = {"postgresql": "postgres", "mysql": "", "mssql": "", "oracle": ""}
_SPELLINGS: Final = {"postgres": "postgresql", "mariadb": "mysql", "sqlserver": "mssql"}
_ROOTS: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
"""Where distributions keep the trusted roots as one file, which is the only form libpq takes."""

Pem = Annotated[str, Field(max_length=262_144)]


def _type(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    low = value.strip().lower()
    return _SPELLINGS.get(low, low)


class DatabaseConnection(Connection):
    """Where the database is, and who logs in."""

    address: ClassVar = ("host",)

    database_type: Annotated[DatabaseType, BeforeValidator(_type)] = Field(
        default="postgresql",
        alias="databaseType",
        description="postgresql, mysql (MariaDB too), mssql or oracle; the last two need an extra.",
    )
    host: Line = Field(default="localhost", description="Name or address of the server.")
    port: Count | None = Field(default=None, le=65_535, description="5432, 3306, 1433 or 1521 when not given.")
    username: Line | None = Field(default=None, description="postgres, root, sa or system when not given.")
    password: SecretText = Field(default="", description="Sent as it is: any characters.")
    dbname: Line | None = Field(
        default=None, description="The database; Oracle: its service. `postgres`, else none, when not given."
    )
    ssl_mode: Line | None = Field(
        default=None,
        alias="sslMode",
        description="disable, require (encrypted, not verified), verify-ca (only its authority), else verify-full. "
        "Not given: verify-full when there is a `caCertificate`, else require.",
    )
    ca_certificate: Annotated[Pem, OwnersOnly()] | None = Field(
        default=None,
        alias="caCertificate",
        description="Certificates of the authorities to trust, PEM; not given: those the machine trusts. Counts in the "
        "vault's entry only.",
    )
    client_certificate: Pem | None = Field(
        default=None, alias="clientCertificate", description="The agent's own certificate for this server, PEM."
    )
    client_key: Annotated[SecretText, Field(max_length=262_144)] | None = Field(
        default=None, alias="clientKey", description="Its private key, PEM, not encrypted."
    )
    read_only: bool = Field(
        default=False,
        alias="readOnly",
        description="All its queries are read-only, whatever a job says.",
    )

    @field_validator("ca_certificate")
    @classmethod
    def _certificates(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ssl.create_default_context(cadata=value)
            except (ssl.SSLError, ValueError):
                raise ValueError("holds no certificate in PEM form") from None
        return value

    @property
    def tls(self) -> TlsMode:
        """The mode in force (contract 3.10; the default is explained in the executor's docstring)."""
        if self.ssl_mode is None:
            return "require" if self.ca_certificate is None else "verify-full"
        low = self.ssl_mode.strip().lower().replace("_", "-")
        return low if low in {"disable", "require", "verify-ca"} else "verify-full"  # type: ignore[return-value]

    @property
    def server(self) -> str:
        """For sentences: `PostgreSQL at db.example:5432`."""
        return f"{TITLES[self.database_type]} at {self.host}:{self.real_port}"

    @property
    def real_port(self) -> int:
        """The port in force."""
        return self.port or PORTS[self.database_type]

    @property
    def user(self) -> str:
        """The user in force."""
        return self.username or _USERS[self.database_type]

    @property
    def database(self) -> str:
        """The database in force, empty for none."""
        return self.dbname or _NAMES[self.database_type]


@dataclass(frozen=True)
class TlsFiles:
    """Certificates as files, for libraries that take no others. `roots` is None where nothing is verified."""

    roots: Path | None
    certificate: Path | None
    key: Path | None


@contextlib.contextmanager
def tls_files(ctx: Context, connection: DatabaseConnection) -> Iterator[TlsFiles]:
    """In a private folder that is gone afterwards. Raises AgentFault when they cannot be written."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=ctx.temporary_prefix, dir=ctx.tmp_dir))
    except OSError as error:
        raise AgentFault(f"this agent cannot write to {ctx.tmp_dir} ({error.strerror})") from None
    try:
        own = _written(folder / "client.pem", connection.client_certificate)
        key = _written(folder / "client.key", connection.client_key)
        roots = None
        if connection.tls.startswith("verify"):
            roots = _written(folder / "roots.pem", connection.ca_certificate) or _machine_roots()
        yield TlsFiles(roots, own, key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(file: Path, text: str | None) -> Path | None:
    if text is None:
        return None
    try:
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AgentFault(f"this agent cannot write to {file.parent.parent} ({error.strerror})") from None
    return file


def _machine_roots() -> Path:
    own = ssl.get_default_verify_paths().cafile
    return next((Path(name) for name in (own, *_ROOTS) if name and Path(name).is_file()), Path(certifi.where()))


class WatchedContext(ssl.SSLContext):
    """A TLS context that names the server by the name of the connection, whatever is dialled, and says how it went."""

    server_name: str
    took_s: float = 0.0
    version: str | None = None

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
        """As the base class does."""
        began = time.monotonic()
        made = super().wrap_socket(sock, *args, **(options | {"server_hostname": self.server_name}))
        self.took_s = time.monotonic() - began
        self.version = made.version()
        return made


def tls_context(connection: DatabaseConnection, files: TlsFiles, mode: TlsMode) -> WatchedContext:
    """For drivers that take Python's TLS. Raises CredentialError for a client certificate that cannot be used."""
    context = WatchedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = connection.host
    # Python 3.13 on would refuse certificates of private authorities for formalities; who is trusted does not change
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify") else ssl.CERT_NONE
    if mode.startswith("verify"):
        if connection.ca_certificate is None:
            context.load_verify_locations(cafile=_machine_roots())
        else:
            context.load_verify_locations(cadata=connection.ca_certificate)
    if files.certificate is not None:
        try:
            # an encrypted key would ask on the terminal: the empty password makes it an error
            context.load_cert_chain(files.certificate, files.key, password="")
        except (OSError, ValueError):
            raise CredentialError("'clientCertificate' and 'clientKey' are no certificate and its key") from None
    return context
