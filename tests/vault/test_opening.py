import pytest

from tests.vault.conftest import KEY, OTHER, PREVIOUS
from vault import VaultKey
from vault.document import Document, parse
from vault.opening import Opening, stamped


@pytest.fixture
def opening(foreign):
    def open_(entries, *, key=KEY, previous=None, **top_level):
        return Opening(parse(foreign.write(entries, **top_level)), VaultKey(key, previous))

    return open_


def test_an_entry_of_this_agent_opens_and_is_up_to_date(opening, foreign):
    opened = opening({"a": foreign.entry("a", {"user": "u"})}).entry("a")
    assert (opened.credentials, opened.outdated, opened.previous_key) == ({"user": "u"}, False, False)


def test_an_entry_without_associated_data_opens_and_is_outdated(opening, foreign):
    opened = opening({"a": foreign.entry("a", {"user": "u"}, bound=False)}).entry("a")
    assert (opened.credentials, opened.outdated) == ({"user": "u"}, True)


def test_an_entry_under_the_previous_key_opens_and_is_outdated(opening, foreign):
    entries = {"a": foreign.entry("a", {"user": "u"}, api_key=PREVIOUS)}
    opened = opening(entries, previous=PREVIOUS).entry("a")
    assert (opened.credentials, opened.outdated, opened.previous_key) == ({"user": "u"}, True, True)
    assert opening(entries).entry("a") is None


def test_swapped_entries_do_not_open(opening, foreign):
    swapped = opening({"a": foreign.entry("b", {"of": "b"}), "b": foreign.entry("a", {"of": "a"})})
    assert swapped.entry("a") is None
    assert swapped.entry("b") is None


@pytest.mark.parametrize("plaintext", [[], "text", 3, None])
def test_an_entry_that_holds_no_object_is_damaged(opening, foreign, plaintext):
    mixed = opening({"a": foreign.entry("a", plaintext), "b": foreign.entry("b", {})})
    assert mixed.entry("a") is None
    assert mixed.damaged() == ["a"]


def test_a_name_nobody_can_ask_for_counts_as_damaged(opening, foreign):
    ghost = opening({"a\n": foreign.entry("a\n", {}), "b": foreign.entry("b", {})})
    assert ghost.damaged() == ["a\n"]


def test_the_key_fits_when_any_entry_opens(opening, foreign):
    assert opening({"a": foreign.entry("a", {}), "b": {"iv": "x", "data": "y"}}).key_fits
    assert not opening({"a": foreign.entry("a", {}, api_key=OTHER), "b": None}).key_fits


def test_a_document_without_entries_accepts_any_key(opening):
    document = Document(salt=bytes(16))
    meta = stamped(document, VaultKey(OTHER), rekeyed=False)
    assert opening({}, meta=meta).key_fits


def test_the_verifier_tells_damage_from_a_wrong_key(foreign):
    def with_verifier(key):
        document = Document(salt=foreign.salt, entries={"a": {"iv": "x", "data": "y"}})
        return Opening(Document(document.salt, document.entries, stamped(document, VaultKey(KEY), rekeyed=False)), key)

    assert with_verifier(VaultKey(KEY)).key_fits
    assert with_verifier(VaultKey(OTHER, KEY)).key_fits
    assert not with_verifier(VaultKey(OTHER)).key_fits


def test_a_stale_verifier_does_not_overrule_an_entry_that_opens(opening, foreign):
    meta = stamped(Document(salt=foreign.salt), VaultKey(OTHER), rekeyed=False)
    assert opening({"a": foreign.entry("a", {})}, meta=meta).key_fits


def test_the_verifier_cannot_be_passed_off_as_an_entry(opening, foreign):
    meta = stamped(Document(salt=foreign.salt), VaultKey(KEY), rekeyed=False)
    assert opening({"verifier": meta["verifier"]}).entry("verifier") is None


def test_only_what_is_outdated_is_rewritten_and_the_rest_stays_byte_for_byte(opening, foreign):
    entries = {
        "new": foreign.entry("new", {"n": 1}),
        "old": {**foreign.entry("old", {"o": 1}, bound=False), "vendorNote": "kept"},
        "broken": {"iv": "x"},
    }
    rewritten, count = opening(entries).rewritten(VaultKey(KEY), foreign.salt, everything=False)
    assert count == 1
    assert rewritten["new"] == entries["new"]
    assert rewritten["broken"] == entries["broken"]
    assert rewritten["old"]["vendorNote"] == "kept"
    reopened = opening(rewritten).entry("old")
    assert (reopened.credentials, reopened.outdated) == ({"o": 1}, False)


def test_meta_counts_and_keeps_what_others_put_there():
    document = Document(salt=bytes(16), meta={"writes": 4, "generation": 1, "theirs": "x"})
    meta = stamped(document, VaultKey(KEY), rekeyed=True)
    assert (meta["writes"], meta["generation"], meta["theirs"]) == (5, 2, "x")
    assert stamped(document, VaultKey(KEY), rekeyed=False)["generation"] == 1
