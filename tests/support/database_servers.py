"""Real PostgreSQL and MariaDB servers of the tests' own, on loopback, ended by their pid.

Neither starts as root: then they run as `nobody`, in a folder of that account.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql

from tests.support.ports import free_port
from tests.support.require import require_program
from tests.support.tls import ThrowawayAuthority, throwaway_authority
from tests.support.waiting import eventually

ADMIN = "admin"
PASSWORD = "p@ss:w/ö'rd \\\"%20"
"""Of every account: characters that some layer could take for its own."""
DATABASE = "shop"
_POSTGRES_BIN = "/usr/lib/postgresql"


class DatabaseServer:
    """One server. `connect` logs an administrator in, past the code under test."""

    kind = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.authority: ThrowawayAuthority = throwaway_authority(folder, "localhost")
        clients = folder / "clients"
        clients.mkdir()
        self.clients: ThrowawayAuthority = throwaway_authority(clients, "certified")
        """Whose certificates the server takes for a log-in."""
        self.account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None
        self.arguments: tuple[str, ...] = ()

    def credential(self, **fields: object) -> dict[str, object]:
        """A vault entry for it, unverified TLS."""
        return {
            "databaseType": self.kind,
            "host": "localhost",
            "port": self.port,
            "username": ADMIN,
            "password": PASSWORD,
            "dbname": DATABASE,
        } | fields

    def command(self, *arguments: str) -> None:
        """Run a program as the server's account; AssertionError with its output when it fails."""
        done = subprocess.run(
            arguments, **self._as_account(), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")

    def serve(self, *arguments: str) -> None:
        """Start the server and wait until it takes connections."""
        self.arguments = arguments
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                arguments, **self._as_account(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            eventually(self._answers, within=30, what=f"{self.kind} answering")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self.folder / 'server.log').read_text(errors='replace')}") from None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text(errors="replace")
        with contextlib.suppress(pymysql.err.OperationalError):
            self.query("SELECT 1")
            return True
        return False

    def query(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run it as the administrator, on a connection of its own, committed."""
        with contextlib.closing(self.connect()) as connection, contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def connect(self):
        """A connection of its driver, as the administrator, in autocommit."""
        raise AssertionError("which server?")

    def start(self):
        """Make its data, start it, add what tests want."""
        raise AssertionError("which server?")

    def revive(self) -> None:
        """Start it again on its data if somebody has killed it.

        Tests that run scripts in their own process do: whatever lives under a script's worker is ended with the script.
        """
        if self.process is not None and self.process.poll() is not None:
            self.serve(*self.arguments)

    def stop(self) -> None:
        """SIGKILL: nothing of it is wanted any more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _as_account(self) -> dict[str, object]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
        if self.account is None:
            return {"env": environment, "cwd": self.folder}
        own = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return {"env": environment, "cwd": self.folder, **own}


class PostgresServer(DatabaseServer):
    """With TLS. `certified` logs in by certificate, `clear` is asked for its password in clear text."""

    kind = "postgresql"

    def start(self) -> None:
        data, secret = self.folder / "data", self.folder / "secret"
        secret.write_text(PASSWORD)
        given(self)
        initdb = postgres_program("initdb")
        self.command(
            *(initdb, "--no-sync", "-D", str(data), "-U", ADMIN, "--pwfile", str(secret), "-A", "scram-sha-256"),
            *("--no-locale", "-E", "UTF8", "--no-instructions"),
        )
        (data / "pg_hba.conf").write_text(
            "hostssl all certified 127.0.0.1/32 cert\n"
            "host all clear 127.0.0.1/32 password\n"
            "host all all 127.0.0.1/32 scram-sha-256\n"
        )
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
            "max_connections": 24, "superuser_reserved_connections": 3, "shared_buffers": "32MB", "ssl": "on",
            "ssl_cert_file": self.authority.chain, "ssl_key_file": self.authority.chain,
            "ssl_ca_file": self.clients.root, "autovacuum": "off", "deadlock_timeout": "100ms",
        }  # fmt: skip
        self.serve(
            postgres_program("postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in options.items())
        )
        self.query(f"CREATE DATABASE {DATABASE}", database="postgres")
        for user in ("certified", "clear", "reader"):
            self.query(f"CREATE USER {user} PASSWORD {_quoted(PASSWORD)}")

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, password=PASSWORD, dbname=database, autocommit=True
        )

    def query(self, sql: str, *parameters: object, database: str = DATABASE) -> list[tuple[object, ...]]:
        with self.connect(database) as connection:
            done = connection.execute(sql, parameters or None)
            return done.fetchall() if done.description else []

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text(errors="replace")
        with contextlib.suppress(psycopg.OperationalError):
            self.query("SELECT 1", database="postgres")
            return True
        return False

    def running(self, text: str) -> int:
        """Statements like it that run now."""
        rows = self.query(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
            " AND pid <> pg_backend_pid()",
            f"%{text}%",
        )
        return int(rows[0][0])


class MariadbServer(DatabaseServer):
    """With TLS. `certified` has to show a certificate."""

    kind = "mysql"

    def start(self) -> None:
        data, first = self.folder / "data", self.folder / "first.sql"
        secret = _quoted(PASSWORD.replace("\\", "\\\\"))
        first.write_text(
            f"CREATE USER {ADMIN}@'%' IDENTIFIED BY {secret};\nGRANT ALL ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;\n"
            f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;\nCREATE USER reader@'%' IDENTIFIED BY {secret};\n"
            f"CREATE USER certified@'%' IDENTIFIED BY {secret} REQUIRE X509;\nGRANT ALL ON {DATABASE}.* TO certified@'%';\n"
        )
        given(self)
        install = require_program("mariadb-install-db", "mysql_install_db", package="mariadb-server")
        server = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        server = server or require_program("mariadbd", package="mariadb-server")
        self.command(install, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve")
        options = {
            "datadir": data, "socket": self.folder / "s.sock", "port": self.port, "bind-address": "127.0.0.1",
            "pid-file": self.folder / "pid", "ssl-cert": self.authority.chain, "ssl-key": self.authority.chain,
            "ssl-ca": self.clients.root, "init-file": first, "innodb-buffer-pool-size": "16M",
            "innodb-log-file-size": "8M", "innodb-flush-log-at-trx-commit": 0, "max-connections": 24,
            "performance-schema": "OFF",
        }  # fmt: skip
        self.serve(
            server, "--no-defaults", "--skip-name-resolve", *(f"--{name}={value}" for name, value in options.items())
        )

    def connect(self) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, password=PASSWORD.encode(), database=DATABASE, autocommit=True,
            ssl_disabled=True,
        )  # fmt: skip

    def running(self, text: str) -> int:
        """Statements like it that run now."""
        rows = self.query(
            "SELECT count(*) FROM information_schema.processlist WHERE info LIKE %s AND id <> connection_id()",
            f"%{text}%",
        )
        return int(rows[0][0])


@contextlib.contextmanager
def running(server: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    """A started server, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ea-db-"))
    made = server(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def given(server: DatabaseServer) -> None:
    """The folder belongs to the server's account, and its keys to nobody else."""
    for path in (server.folder, *server.folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if server.account is not None:
            os.chown(path, server.account.pw_uid, server.account.pw_gid)


def postgres_program(name: str) -> str:
    """Debian keeps the server's programs off PATH, one folder for each version."""
    for folder in sorted(Path(_POSTGRES_BIN).glob("*/bin"), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    return require_program(name, package="postgresql")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
