"""Opening the data folder and the database for a command."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from controlplane.cli import exits
from controlplane.models.at_rest import AtRest, load_or_make_key
from controlplane.models.engine import Database
from controlplane.models.migrate import migrate
from controlplane.settings import ControlPlaneSettings
from easyalert.errors import ConfigurationError


class CommandError(ConfigurationError):
    """Ends the command with this sentence and this exit code."""

    def __init__(self, message: str, code: int = exits.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = code


@contextlib.contextmanager
def open_database(settings: ControlPlaneSettings) -> Iterator[Database]:
    """The migrated database. Raises CommandError."""
    folder = settings.data_path
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / ".writable").touch(mode=0o600)
        (folder / ".writable").unlink()
    except OSError as error:
        raise CommandError(
            f"the data folder {folder} cannot be written ({error.strerror}): give the user its rights, free its disk, "
            "or choose another with --data-dir",
            exits.STORAGE,
        ) from error
    database = Database(settings.url, AtRest(_key(folder / "secret.key")))
    try:
        migrate(database)
        _keep_private(database.file)
        yield database
    finally:
        database.close()


def _key(path: Path) -> bytes:
    try:
        return load_or_make_key(path)
    except OSError as error:
        raise CommandError(
            f"{path} cannot be used ({error.strerror}): give the user its rights", exits.STORAGE
        ) from error
    except ConfigurationError as error:
        raise CommandError(str(error), exits.STORAGE) from None


@contextlib.contextmanager
def only_server(settings: ControlPlaneSettings) -> Iterator[None]:
    """Hold the data folder for one server: two on one SQLite database would not wake each other's polls."""
    path = settings.data_path / "serve.lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(
                f"another control plane already serves {settings.data_path}: stop it, "
                "or choose another folder with --data-dir",
                exits.ALREADY_RUNNING,
            ) from None
        yield


def _keep_private(file: Path | None) -> None:
    if file is not None:
        file.chmod(0o600)
