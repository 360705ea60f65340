"""A kubeconfig, read as an agent needs it: one context's server, trust and credential, from text alone.

Read here and not by the official client, because that one follows whatever a kubeconfig says: it runs the programs of
`exec` and `auth-provider`, and opens the files it names. Whoever delivers a credential would run programs on the
agent's host, or read its files, that way. So these are refused, each with a sentence that says what to write instead;
the data itself belongs into the text (`kubectl config view --minify --flatten --raw` writes it so).

Only the chosen context is looked at: what other contexts hold is nobody's business.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from easyalert.errors import CredentialError

KUBECONFIG_MAX_BYTES: Final = 1_048_576
_FLATTEN: Final = "embed the data instead ('kubectl config view --minify --flatten --raw' writes it so)"
_REFUSED_OF_USERS: Final = {
    "exec": "runs a program on the agent's host; use the token of a service account, or client-certificate-data",
    "auth-provider": "runs a program on the agent's host; use the token of a service account",
    "tokenFile": f"names a file; {_FLATTEN}",
    "client-certificate": f"names a file; {_FLATTEN}",
    "client-key": f"names a file; {_FLATTEN}",
    "as-uid": "is not supported; only 'as' is",
    "as-groups": "is not supported; only 'as' is",
    "as-user-extra": "is not supported; only 'as' is",
}
_REFUSED_OF_CLUSTERS: Final = {
    "certificate-authority": f"names a file; {_FLATTEN}",
    "proxy-url": "is not supported: clusters are reached directly",
}


@dataclass(frozen=True, repr=False)
class ClusterAccess:
    """One context of a kubeconfig. Its repr shows nothing of it."""

    context: str
    server: str
    """As written, with scheme."""
    tls_name: str | None = None
    """The name the server's certificate has to have; None: the host in `server`."""
    authority: str | None = None
    """Certificates (PEM) that are trusted; None: the system's."""
    insecure: bool = False
    """The owner of the kubeconfig wrote `insecure-skip-tls-verify: true`."""
    token: str | None = None
    username: str | None = None
    password: str | None = None
    certificate: str | None = None
    """Client certificate with its chain, PEM."""
    key: str | None = None
    """Its private key, PEM, not encrypted."""
    impersonate: str | None = None
    secrets: tuple[str, ...] = field(default=())
    """What must never be shown, beside the kubeconfig itself: it is base64 in there."""


def read_kubeconfig(text: str, context: str | None = None) -> ClusterAccess:
    """The context `context` of it, None: its current one. Raises CredentialError with a sentence, never a value."""
    document = _document(text)
    wanted = context or document.get("current-context")
    if not isinstance(wanted, str) or not wanted:
        raise CredentialError("the kubeconfig has no current-context, and the job names no 'context'")
    chosen = _named(document, "contexts", "context", wanted)
    cluster = _named(document, "clusters", "cluster", _text(chosen, "cluster", "context") or "")
    user = _named(document, "users", "user", _text(chosen, "user", "context") or "")
    for part, refused in ((cluster, _REFUSED_OF_CLUSTERS), (user, _REFUSED_OF_USERS)):
        for name, why in refused.items():
            if part.get(name):
                raise CredentialError(f"the kubeconfig is refused: its '{name}' {why}")
    return _access(wanted, cluster, user)


def _access(context: str, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ClusterAccess:
    server = _text(cluster, "server", "cluster")
    if not server or not server.lower().startswith("https://"):
        raise CredentialError("the kubeconfig's 'server' must be an https:// URL")
    insecure = cluster.get("insecure-skip-tls-verify", False)
    if not isinstance(insecure, bool):
        raise CredentialError("the kubeconfig's 'insecure-skip-tls-verify' must be true or false")
    authority = _pem(cluster, "certificate-authority-data", "cluster")
    if insecure and authority:
        raise CredentialError("the kubeconfig has both certificate-authority-data and insecure-skip-tls-verify")
    certificate, key = _pem(user, "client-certificate-data", "user"), _pem(user, "client-key-data", "user")
    if bool(certificate) != bool(key):
        raise CredentialError("the kubeconfig has one of client-certificate-data and client-key-data without the other")
    if key and "ENCRYPTED" in key:
        raise CredentialError("the kubeconfig's client key is encrypted; nobody is here to type its passphrase")
    token, password = _header(user, "token"), _header(user, "password")
    return ClusterAccess(
        context=context,
        server=server,
        tls_name=_text(cluster, "tls-server-name", "cluster"),
        authority=authority,
        insecure=insecure,
        token=token,
        username=_header(user, "username"),
        password=password,
        certificate=certificate,
        key=key,
        impersonate=_header(user, "as"),
        secrets=tuple(secret for secret in (token, password, key) if secret),
    )


def _document(text: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - the policy's readers import this module in every process; few read a kubeconfig

    if len(text.encode("utf-8", "surrogatepass")) > KUBECONFIG_MAX_BYTES:
        raise CredentialError(f"the kubeconfig is larger than {KUBECONFIG_MAX_BYTES} bytes")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(text, Loader=loader)  # noqa: S506 - both are the safe loader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError):
        raise CredentialError("the kubeconfig is no YAML") from None
    if not isinstance(document, dict) or document.get("kind", "Config") != "Config":
        raise CredentialError("the kubeconfig is no object of kind Config")
    return document


def _named(document: Mapping[str, Any], collection: str, member: str, name: str) -> Mapping[str, Any]:
    entries = document.get(collection)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            inner = entry.get(member)
            if inner is None:
                return {}
            if isinstance(inner, dict):
                return inner
    if member == "user" and not name:
        return {}
    raise CredentialError(f"the kubeconfig has no {member} of the name that is asked for")


def _text(part: Mapping[str, Any], name: str, where: str) -> str | None:
    value = part.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise CredentialError(f"the kubeconfig's '{name}' of its {where} is no text")
    return value


def _header(user: Mapping[str, Any], name: str) -> str | None:
    """A text that can stand in a header; blanks around it are not part of it."""
    value = (_text(user, name, "user") or "").strip()
    if not value.isascii() or any(char < " " or char == "\x7f" for char in value):
        raise CredentialError(f"the kubeconfig's '{name}' holds characters that no header can carry")
    return value or None


def _pem(part: Mapping[str, Any], name: str, where: str) -> str | None:
    value = _text(part, name, where)
    if value is None:
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise CredentialError(f"the kubeconfig's '{name}' is no base64 of a PEM text") from None
