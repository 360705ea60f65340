"""How values of settings are read: lists, paths, files with a key, URLs. No ValueError from here quotes a secret."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit


def parts_of(text: str) -> list[str]:
    """What stands between commas, without blanks and empty parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def key_in(file: Path) -> str:
    """The key a file holds. Raises ValueError."""
    try:
        found = absolute(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"AGENT_API_KEY_FILE: {file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"AGENT_API_KEY_FILE: {file} is not text") from None
    if not found:
        raise ValueError(f"AGENT_API_KEY_FILE: {file} is empty")
    return found


def absolute(path: Path) -> Path:
    """The whole path, `~` expanded. Raises ValueError."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # no such account, or an account without a home
        raise ValueError(
            f"{path} begins with the name of an account without a home folder; give the whole path"
        ) from None


def url_scheme(url: str) -> str:
    """The scheme of a usable URL, else an empty text. The parser's own errors quote the URL: it may be a secret."""
    try:
        parts = urlsplit(url)
        sound = parts.port is None or parts.port > 0
    except ValueError:
        return ""
    clean = url.isprintable() and " " not in url
    return parts.scheme if clean and sound and (parts.hostname or parts.scheme == "unix") else ""
