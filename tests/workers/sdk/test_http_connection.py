"""What a vault entry of http may hold and where it may go; certificates on real sockets: test_http_certificates.py."""

from __future__ import annotations

import pytest

from easyalert.errors import CredentialError, PolicyRefused
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import parse_target
from tests.workers.executors.http_case import TOKEN, context
from workers.sdk.http_connection import access_to

SITE = "https://api.example.com"
POLICY = NetworkPolicy(allow_private=True)


def access(tmp_path, credential, *, url=f"{SITE}/v1", addresses=(SITE,), **options):
    return access_to(context(tmp_path, {}, credential, **options), parse_target(url, POLICY), addresses)


def test_the_token_goes_along_to_its_own_origin(tmp_path):
    assert access(tmp_path, {"token": TOKEN}).header == (b"Authorization", f"Bearer {TOKEN}".encode())


@pytest.mark.parametrize("url", ["https://api.example.org/", "http://api.example.com/", "https://api.example.com:444/"])
def test_it_goes_to_no_other(tmp_path, url):
    with pytest.raises(PolicyRefused, match=r"belongs to https://api\.example\.com"):
        access(tmp_path, {"token": TOKEN}, url=url)


def test_what_belongs_nowhere_is_not_sent(tmp_path):
    with pytest.raises(PolicyRefused, match="add baseUrl"):
        access(tmp_path, {"token": TOKEN}, addresses=("", ""))


def test_the_first_address_wins_and_a_later_one_binds_the_entry(tmp_path):
    with pytest.raises(PolicyRefused, match=r"example\.org"):
        access(tmp_path, {"token": TOKEN}, addresses=("https://api.example.org", SITE))
    bound = []
    access(tmp_path, {"token": TOKEN}, addresses=("", SITE), bind=lambda *told: bound.append(told[-1]))
    assert bound == ["https://api.example.com:443"]


def test_without_a_credential_nothing_goes_along_and_nothing_is_bound(tmp_path):
    found = access(tmp_path, None, addresses=("", ""))
    assert (found.header, found.tls, found.own_certificate) == (None, None, False)


@pytest.mark.parametrize("there", ["clientCertificate", "clientKey"])
def test_a_certificate_without_its_key_is_refused_by_name(tmp_path, there):
    with pytest.raises(CredentialError, match="'clientCertificate' and 'clientKey' together"):
        access(tmp_path, {there: "-----BEGIN"})


def test_an_address_that_cannot_be_read_is_no_origin(tmp_path):
    with pytest.raises(PolicyRefused, match="cannot be read"):
        access(tmp_path, {"token": TOKEN}, addresses=("https://",))
