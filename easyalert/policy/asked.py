"""What a job asks for, in the policy's words: action, connection, where it goes, what it runs.

Where a job goes is told for the kinds of `_ADDRESS_NAMES` only, from the parameters, the connection's configuration in
them and the vault's entry: **every** address found there, under every spelling its reader takes, has to be allowed. For
other kinds, and for what cannot be read, the answer is "cannot be told", and a rule with `targets` does not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from easyalert.errors import CredentialError
from easyalert.host_keys import split_host
from easyalert.kubeconfig import read_kubeconfig
from easyalert.netguard.naming import join_url
from easyalert.policy.places import Place, Unreadable, host_place, url_place

STORE_CREDENTIAL: Final = "system.storeCredential"

_ADDRESS_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "ssh": ("host",),
    "winrm": ("host",),
    "database": ("host",),
    "email": ("smtpHost", "host"),
    "jira": ("baseUrl",),
    "teams": ("webhookUrl",),
}
"""Kind → where contract 3.0 has its address; `http`, `kubernetes` and `slack` have rules of their own."""
_DEFAULT_HOSTS: Final[Mapping[str, tuple[str, ...]]] = {"database": ("localhost",)}
"""Where a job of the kind goes that names no host (contract 3.10)."""
_SLACK: Final = "https://slack.com/api/"
"""Where Slack's jobs go, unless the owner's entry has an `apiUrl`; nothing in a job says otherwise."""
_CONFIGURATION: Final = ("connectionConfig", "connection_config")
_REDIRECTS: Final = ("followRedirects", "follow_redirects")
_SYSTEM_FOLDERS: Final = frozenset({"/bin", "/usr/bin", "/usr/local/bin"})
"""In any other folder somebody else may have called a program of his own `bash`: there the whole path is the name."""
_SCRIPT_PARAMETERS: Final = ("script", "command")


@dataclass(frozen=True)
class Asked:
    """One job, as rules look at it. Holds no parameter but what is listed."""

    action: str
    connection: str | None
    places: tuple[Place, ...] = ()
    places_unknown: str | None = None
    """Why it cannot be told where the job goes."""
    interpreter: str | None = None
    """`bash`, `python`, `powershell`, …; with its folder where that is not the system's."""
    sha256: str | None = None
    """Of the script's (or command's) text in UTF-8, 64 hexadecimal digits."""


def asked_of(action: str, connection: str | None, params: Mapping[str, Any], entry: Mapping[str, Any] | None) -> Asked:
    """`entry`: what the vault holds for the connection, None for nothing. Never raises."""
    kind, _, name = action.partition(".")
    places: tuple[Place, ...] = ()
    unknown = None
    try:
        places = tuple(dict.fromkeys(_places(kind, name, params, entry or {})))
    except Unreadable as reason:
        unknown = str(reason)
    return Asked(
        action=action,
        connection=_connection(action, connection, params),
        places=places,
        places_unknown=unknown,
        interpreter=_interpreter(kind, name, params),
        sha256=_digest(params),
    )


def _connection(action: str, connection: str | None, params: Mapping[str, Any]) -> str | None:
    # a delivery names the entry it replaces in its parameters (contract 2.8)
    named = params.get("connectionId") if action == STORE_CREDENTIAL else connection
    return named if isinstance(named, str) and named else None


def _interpreter(kind: str, name: str, params: Mapping[str, Any]) -> str | None:
    if kind == "script":
        return name or None
    if kind == "winrm":
        return "powershell" if name in {"executeScript", "executeCommand"} else None
    if name != "executeScript":
        return None
    given = params.get("interpreter", "/bin/bash")
    if not isinstance(given, str):
        return None
    folder, slash, file = given.rpartition("/")
    return (file if folder in _SYSTEM_FOLDERS or not slash else given) or None


def _digest(params: Mapping[str, Any]) -> str | None:
    texts = [params[name] for name in _SCRIPT_PARAMETERS if params.get(name) is not None]
    if len(texts) != 1 or not isinstance(texts[0], str):
        return None
    try:
        return hashlib.sha256(texts[0].encode()).hexdigest()
    except UnicodeEncodeError:
        return None


# ---- where it goes --------------------------------------------------------------------------------------------------


def _places(kind: str, name: str, params: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[Place]:
    sources = [params, *_configurations(params), entry]
    if kind == "http":
        yield from _http_places(name, params, sources)
        return
    if kind == "kubernetes":
        yield from _clusters(sources, entry)
        return
    if kind == "slack":
        yield from map(url_place, list(_texts(entry, ("apiUrl",))) or [_SLACK])
        return
    if kind not in _ADDRESS_NAMES:
        raise Unreadable(f"actions of the kind '{kind}' do not say where they go")
    texts = [text for source in sources for text in _texts(source, _ADDRESS_NAMES[kind])]
    if kind == "ssh":
        texts += _jump_hosts(entry)
    for text in texts or _DEFAULT_HOSTS.get(kind, ()):
        yield url_place(text) if "://" in text else host_place(text)


def _jump_hosts(entry: Mapping[str, Any]) -> Iterator[str]:
    """The host before the server; the executor takes it from the entry only, as `host:port` or as an object."""
    jump = entry.get("jumpHost")
    if isinstance(jump, dict):
        yield from _texts(jump, ("host",))
        return
    for text in _texts(entry, ("jumpHost",)):
        yield split_host(text)[0]


def _clusters(sources: list[Mapping[str, Any]], entry: Mapping[str, Any]) -> Iterator[Place]:
    """The servers of the contexts that are named anywhere, in the kubeconfig of the entry; else of its current one."""
    text = next(_texts(entry, ("kubeconfig",)), None)
    if text is None:
        if next(_texts(entry, ("kubeconfigPath",)), None):
            raise Unreadable("its kubeconfig is a file, which may be another by the time the job runs")
        return
    contexts: list[str | None] = [name for source in sources for name in _texts(source, ("context",))]
    for context in contexts or [None]:
        try:
            yield url_place(read_kubeconfig(text, context).server)
        except CredentialError as error:
            raise Unreadable(str(error)) from None


def _http_places(name: str, params: Mapping[str, Any], sources: list[Mapping[str, Any]]) -> Iterator[Place]:
    """As the executor may combine them: `url` after each base there is, and every base by itself."""
    if name not in {"request", "testConnection"}:
        raise Unreadable(f"there is no action http.{name}")
    if name == "request" and any(params.get(word) not in (None, False) for word in _REDIRECTS):
        raise Unreadable("it follows redirects, and their targets are not named in the job")
    bases = [base for source in sources for base in _addresses(source, with_url=source is not params)]
    urls = list(_texts(params, ("url",)))
    if name == "testConnection":
        # here `url` is an address by itself, https if it does not say
        bases += [text if "://" in text else f"https://{text}" for text in urls]
        urls = []
    yield from map(url_place, bases)
    for url in urls:
        yield from (url_place(join_url(base, url)) for base in bases or [""])


def _addresses(source: Mapping[str, Any], *, with_url: bool) -> Iterator[str]:
    for text in _texts(source, ("baseUrl", "base_url", *(("url",) if with_url else ()))):
        yield text if "://" in text else f"https://{text}"
    for host in _texts(source, ("host",)):
        port = source.get("port")
        bare = "://" not in host
        yield (f"https://{host}:{port}" if port and ":" not in host else f"https://{host}") if bare else host


def _configurations(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [params[name] for name in _CONFIGURATION if params.get(name) is not None]
    if not all(isinstance(item, dict) for item in found):
        raise Unreadable("the connection's configuration is no object")
    return found


def _texts(source: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        value = source.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise Unreadable(f"'{name}' is no text")
        if value.strip():
            yield value.strip()
