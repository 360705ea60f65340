import base64
import json

import pytest

from vault import document
from vault.document import Document, MalformedDocumentError, new_salt, parse, salt_digest

SALT_TEXT = base64.b64encode(bytes(range(16))).decode()


def test_a_file_comes_back_with_everything_it_held():
    raw = json.dumps(
        {
            "salt": SALT_TEXT,
            "credentials": {"a": {"iv": "x", "data": "y"}, "b": 7},
            "vendorNew": [1, {"x": "\ud800"}],
            "meta": {"m": 1},
        }
    ).encode()
    parsed = parse(raw)
    assert parsed == Document(
        salt=bytes(range(16)),
        entries={"a": {"iv": "x", "data": "y"}, "b": 7},
        meta={"m": 1},
        foreign={"vendorNew": [1, {"x": "\ud800"}]},
    )
    assert parse(parsed.encode()) == parsed


def test_the_written_form_is_one_line_without_a_newline():
    written = Document(salt=bytes(16), entries={"a": {}}).encode()
    assert b"\n" not in written
    assert list(json.loads(written)) == ["salt", "credentials", "meta"]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400 + ".0"])
def test_a_number_that_could_not_be_written_again_is_refused_when_it_is_read(number):
    with pytest.raises(MalformedDocumentError, match="too large"):
        parse(f'{{"salt": "{SALT_TEXT}", "credentials": {{}}, "more": [{number}]}}'.encode())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"), (b" \n", "empty"), (b"\x00\x00\x00", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe{}", "not JSON"),
        (b"[" * 200_000, "not JSON"), (b"[]", "not a JSON object"), (b"null", "not a JSON object"), (b'"x"', "not a JSON object"),
        (b"{}", "salt"), (b'{"salt": null, "credentials": {}}', "salt"), (b'{"salt": 5, "credentials": {}}', "salt"),
        (b'{"salt": "", "credentials": {}}', "salt"), (b'{"salt": "!!!!", "credentials": {}}', "salt"),
        (b'{"salt": "AAEC", "credentials": {}}', "salt"), (b'{"salt": "AAECAwQFBgcICQoLDA0ODw", "credentials": {}}', "salt"),
        (b'{"salt": "AAECAwQFBgcICQoLDA0ODw=="}', "credentials"),
        (b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": null}', "credentials"),
        (b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": []}', "credentials"),
        (b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": {"a": 1, "a": 2}}', "twice"),
        (b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": {"a": NaN}}', "not JSON"),
        (b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": {"a": ' + b"9" * 5000 + b"}}", "not JSON"),
    ],
)  # fmt: skip
def test_whatever_is_no_vault_file_is_named_as_such(raw, reason):
    with pytest.raises(MalformedDocumentError, match=reason):
        parse(raw)


@pytest.mark.parametrize("salt", ["????", "?" + SALT_TEXT, SALT_TEXT[:8] + "\n" + SALT_TEXT[8:]])
def test_a_salt_of_invalid_characters_is_never_an_empty_salt(salt):
    """Nor the one that a lenient decoder makes of the others."""
    with pytest.raises(MalformedDocumentError):
        parse(json.dumps({"salt": salt, "credentials": {}}).encode())


@pytest.mark.parametrize("meta", [None, 3, "x", []])
def test_a_meta_of_another_shape_is_as_good_as_none(meta):
    assert parse(json.dumps({"salt": SALT_TEXT, "credentials": {}, "meta": meta}).encode()).meta == {}


@pytest.mark.parametrize(("value", "count"), [(4, 4), (None, 0), ("4", 0), (True, 0), (-1, 0), (1.5, 0)])
def test_counters_survive_foreign_values(value, count):
    assert Document(salt=bytes(16), meta={"writes": value}).counter("writes") == count


def test_a_changed_salt_is_noticed_where_it_was_remembered():
    meta = {"saltDigest": salt_digest(bytes(16))}
    assert not Document(salt=bytes(16), meta=meta).salt_is_damaged
    assert Document(salt=bytes(range(16)), meta=meta).salt_is_damaged
    assert not Document(salt=bytes(range(16))).salt_is_damaged
    assert not Document(salt=bytes(16), meta={"saltDigest": 5}).salt_is_damaged


def test_a_file_no_reader_would_accept_is_not_written(monkeypatch):
    monkeypatch.setattr(document, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="100"):
        Document(salt=bytes(16), entries={"a": "x" * 100}).encode()


def test_salts_are_16_random_bytes():
    assert {len(new_salt()) for _ in range(10)} == {16}
    assert len({new_salt() for _ in range(10)}) == 10
