"""From a job's parameters to the parts of an HTTP request (contract 3.3), as bytes, with nothing smuggled in."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from enum import StrEnum
from typing import Any, Final

from easyalert.errors import CredentialError, InvalidParameter
from easyalert.netguard.target import URL_MAX_CHARS

REQUEST_BODY_MAX_BYTES: Final = 10_485_760
REQUEST_HEADERS_MAX_BYTES: Final = 65_536
"""Servers take less: 8 KiB is usual."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_NOT_IN_VALUES: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What frames the message or the connection is the client's business; a second one would let a job smuggle requests.
_REFUSED_HEADERS: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # These make a cloud's metadata service answer.
        "metadata",
        "metadata-flavor",
        "x-google-metadata-request",
    }
)
_REFUSED_PREFIXES: Final = ("proxy-", "x-aws-ec2-metadata-")
_JSON_TYPE: Final = "application/json"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


class BodyType(StrEnum):
    """How `body` is sent."""

    AUTO = "auto"
    JSON = "json"
    FORM = "form"
    RAW = "raw"
    NONE = "none"


def with_query(url: str, params: dict[str, Any]) -> str:
    """`url` with each of `params` in place of all parameters of the same name; null leaves the URL as it is."""
    given = {name: value for name, value in params.items() if value is not None}
    if not given:
        return url
    front, _, fragment = url.partition("#")
    path, _, query = front.partition("?")
    kept = [pair for pair in query.split("&") if pair and _parameter_name(pair) not in given]
    added = [
        urllib.parse.urlencode({name: as_text(item)}, quote_via=urllib.parse.quote, errors="replace")
        for name, value in given.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    made = f"{path}?{'&'.join([*kept, *added])}" + (f"#{fragment}" if fragment else "")
    if len(made) > URL_MAX_CHARS >= len(url):
        raise InvalidParameter("queryParams", f"make the URL longer than {URL_MAX_CHARS} characters")
    return made


def as_text(value: Any) -> str:
    """A JSON value as the text people expect: strings as they are, everything else as JSON (`true`, `1.5`, `{…}`)."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def header_list(headers: dict[str, Any], content_type: str | None) -> list[tuple[bytes, bytes]]:
    """The job's headers; a `Content-Type` of its own wins over `content_type`.

    Raises InvalidParameter naming the header: for what is no header, and for those a job may not set.
    """
    found: list[tuple[bytes, bytes]] = []
    for name, value in headers.items():
        if value is None:
            continue
        parameter = f"headers.{''.join(char if char.isprintable() else '?' for char in name[:64])}"
        lower = name.strip(" ").lower()
        if not _TOKEN.fullmatch(lower):
            raise InvalidParameter(parameter, "is no name of a header")
        if lower in _REFUSED_HEADERS or lower.startswith(_REFUSED_PREFIXES):
            raise InvalidParameter(parameter, "is not a job's to set")
        if isinstance(value, dict | list):
            raise InvalidParameter(parameter, "must be a text, a number or true or false")
        text = as_text(value).strip(" \t")
        if _NOT_IN_VALUES.search(text):
            raise InvalidParameter(parameter, "holds a control character")
        found.append((name.strip(" ").encode("ascii"), text.encode("utf-8", "replace")))
    if sum(len(name) + len(value) for name, value in found) > REQUEST_HEADERS_MAX_BYTES:
        raise InvalidParameter("headers", f"are longer than {REQUEST_HEADERS_MAX_BYTES} bytes together")
    if content_type and not any(name.lower() == b"content-type" for name, _ in found):
        found.append((b"Content-Type", content_type.encode("utf-8", "replace")))
    return found


def encode_body(body: Any, body_type: BodyType, raw_content_type: str) -> tuple[bytes | None, str | None]:
    """The bytes to send and their content type, if the type is ours to say. Raises InvalidParameter when too long."""
    if body is None or body_type is BodyType.NONE:
        return None, None
    text, content_type = _body_text(body, body_type)
    if body_type is BodyType.RAW:
        content_type = raw_content_type.strip() or None
        if content_type and _NOT_IN_VALUES.search(content_type):
            raise InvalidParameter("rawContentType", "holds a control character")
    data = text.encode("utf-8", "replace")
    if len(data) > REQUEST_BODY_MAX_BYTES:
        raise InvalidParameter("body", f"has {len(data)} bytes; the limit is {REQUEST_BODY_MAX_BYTES}")
    return data, content_type


def _body_text(body: Any, body_type: BodyType) -> tuple[str, str | None]:
    if body_type is BodyType.AUTO and isinstance(body, dict | list):
        return as_text(body), _JSON_TYPE
    if body_type is BodyType.JSON:
        try:
            value = json.loads(body) if isinstance(body, str) else body
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False), _JSON_TYPE
        except (ValueError, RecursionError):
            return as_text(body), None
    if body_type is BodyType.FORM:
        fields = _object(body)
        if fields is not None:
            return with_query("", fields).removeprefix("?"), _FORM_TYPE
    return as_text(body), None


def _object(body: Any) -> dict[str, Any] | None:
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return None
    return body if isinstance(body, dict) else None


def _parameter_name(pair: str) -> str:
    return urllib.parse.unquote_plus(pair.partition("=")[0], errors="replace")


def auth_header(credential: dict[str, Any], connection: str) -> tuple[bytes, bytes] | None:
    """The header that a vault entry's secret goes into; None when the entry holds none.

    `authType` is `bearer`, `basic` or `apiKey`; without it, the first of `token`, `password`, `apiKey` decides.
    Raises CredentialError for an entry whose `authType` is unknown or lacks its fields, without showing a value.
    """
    kind = str(credential.get("authType") or "").strip().lower().replace("_", "").replace("-", "")
    if not kind:
        fields = {"token": "bearer", "password": "basic", "apiKey": "apikey"}
        kind = next((kind for field, kind in fields.items() if credential.get(field)), "")
    if not kind or kind == "none":
        return None
    if kind == "bearer":
        return b"Authorization", b"Bearer " + _secret(credential, "token", connection)
    if kind == "basic":
        user, password = str(credential.get("username") or ""), str(credential.get("password") or "")
        if not user and not password:
            raise CredentialError(f"the vault entry of connection '{connection}' has no username and password")
        return b"Authorization", b"Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogatepass"))
    if kind == "apikey":
        name = str(credential.get("headerName") or "X-API-Key").strip()
        if not _TOKEN.fullmatch(name) or name.lower() in _REFUSED_HEADERS:
            raise CredentialError(f"the vault entry of connection '{connection}' has an unusable headerName")
        return name.encode(), _secret(credential, "apiKey", connection)
    raise CredentialError(
        f"the vault entry of connection '{connection}' has an unknown authType; known: bearer, basic, apiKey"
    )


def _secret(credential: dict[str, Any], field: str, connection: str) -> bytes:
    value = str(credential.get(field) or "").strip()
    if not value:
        raise CredentialError(f"the vault entry of connection '{connection}' has no {field}")
    if _NOT_IN_VALUES.search(value) or not value.isascii():
        raise CredentialError(f"the {field} of connection '{connection}' holds characters no header can carry")
    return value.encode("ascii")
