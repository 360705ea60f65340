"""The address guard, live: real workers, real DNS that lies, http and https, in a network where every address answers.

No job may open one TCP connection to an address it may not reach. The kernel's own count of connections is compared with
those that the servers of the test saw, so that a connection to another port would not go unseen either.
"""

import json
from urllib.parse import quote

import pytest

from tests.support.own_network import run_in_own_network

pytestmark = pytest.mark.system

PUBLIC, PUBLIC6, OTHER = "1.1.1.1", "2606:4700:4700::1111", "8.8.8.8"
INSIDE = "10.0.0.5"
METADATA = "169.254.169.254"
MAY_BE_REACHED = {PUBLIC, PUBLIC6, OTHER}
TOKEN = "t0ken-t0ken-t0ken"

# 10.0.0.5 as AAAA records may hold it
EMBEDDED = {
    "mapped": "::ffff:10.0.0.5",
    "translated": "::ffff:0:10.0.0.5",
    "compatible": "::10.0.0.5",
    "nat64": "64:ff9b::10.0.0.5",
    "local-nat64": "64:ff9b:1::10.0.0.5",
    "local-nat64-48": "64:ff9b:1:a00:0:500::",
    "6to4": "2002:a00:5::1",
    "teredo-server": "2001:0:a00:5:0:0:f7f7:f7f7",
    "teredo-client": "2001:0:808:808:0:0:f5ff:fffa",
    "isatap": "2606:4700::5efe:10.0.0.5",
    "isatap-universal": "2606:4700::200:5efe:10.0.0.5",
    "unique-local": "fd00::5",
    "link-local": "fe80::5",
    "site-local": "fec0::5",
    "loopback": "::1",
    "unspecified": "::",
    "multicast": "ff02::1",
    "documentation": "2001:db8::5",
    "outside-2000": "4000::5",
    "metadata": "fd00:ec2::254",
}

ZONE = {
    "good.ea.example": {"A": [[PUBLIC]]},
    "good6.ea.example": {"AAAA": [[PUBLIC6]]},
    "both.ea.example": {"A": [[PUBLIC]], "AAAA": [[PUBLIC6]]},
    "other.ea.example": {"A": [[OTHER]]},
    "inside.ea.example": {"A": [[INSIDE]]},
    "to-good.ea.example": {"CNAME": "good.ea.example"},
    "to-inside.ea.example": {"CNAME": "inside.ea.example"},
    "to-to-inside.ea.example": {"CNAME": "to-inside.ea.example"},
    "to-metadata.ea.example": {"CNAME": "metadata.google.internal"},
    "metadata.google.internal": {"A": [[METADATA]]},
    "mixed.ea.example": {"A": [[PUBLIC, INSIDE, OTHER]]},
    "mixed6.ea.example": {"A": [[PUBLIC]], "AAAA": [[PUBLIC6, "fd00::5"]]},
    "long.ea.example": {"A": [[*[f"1.1.1.{n}" for n in range(1, 60)], INSIDE]], "tcp": True},
    "flips.ea.example": {"A": [[PUBLIC], [INSIDE]]},
    "flips-tls.ea.example": {"A": [[PUBLIC], [INSIDE]]},
    "flips-between.ea.example": {"A": [[PUBLIC], [INSIDE]]},
    "flips-back.ea.example": {"A": [[INSIDE], [PUBLIC]]},
    "zero.ea.example": {"A": [["0.0.0.0"]]},
    "loop.ea.example": {"A": [["127.0.0.1"]]},
    "shared.ea.example": {"A": [["100.64.0.1"]]},
    "multicast.ea.example": {"A": [["224.0.0.1"]]},
    "link.ea.example": {"A": [[METADATA]]},
    "alibaba.ea.example": {"A": [["100.100.100.200"]]},
    "metadata6.ea.example": {"AAAA": [["fd00:ec2::254"]]},
    "metadata64.ea.example": {"AAAA": [["64:ff9b::169.254.169.254"]]},
    "elsewhere.ea.example": {"A": [["10.0.1.5"]]},
    **{f"aaaa-{form}.ea.example": {"A": [[PUBLIC]], "AAAA": [[address]]} for form, address in EMBEDDED.items()},
}


def redirect(to, *, start="http://good.ea.example", status=302, **params):
    return {"url": f"{start}/?to={quote(to, safe='')}&status={status}", "followRedirects": True, **params}


# name → parameters, connections it may open (all to addresses of MAY_BE_REACHED, in this order), words of the error
REFUSED = {
    "literal": ({"url": f"http://{INSIDE}/"}, [], "private network"),
    "literal-tls": ({"url": f"https://{INSIDE}/"}, [], "private network"),
    "literal-metadata": ({"url": f"http://{METADATA}/latest/meta-data/"}, [], "metadata service"),
    "literal-loopback": ({"url": "http://127.0.0.1:8080/"}, [], "loopback"),
    "literal-loopback-6": ({"url": "http://[::1]:8080/"}, [], "loopback"),
    "literal-mapped": ({"url": "http://[::ffff:10.0.0.5]/"}, [], "leads to 10.0.0.5"),
    "literal-zone": ({"url": "http://[fe80::1%25lo]/"}, [], "no plain IPv6"),
    "decimal": ({"url": "http://167772165/"}, [], "ends in a number"),
    "hexadecimal": ({"url": "http://0x0a.0.0.5/"}, [], "ends in a number"),
    "octal": ({"url": "http://012.0.0.5/"}, [], "ends in a number"),
    "short": ({"url": "http://10.5/"}, [], "ends in a number"),
    "full-width": ({"url": "http://\uff11\uff10.0.0.5/"}, [], "characters no host name has"),
    "localhost": ({"url": "http://localhost:8080/"}, [], "loopback"),
    "localhost-dot": ({"url": "http://LOCALHOST.:8080/"}, [], "loopback"),
    "user-info": ({"url": f"http://good.ea.example@{INSIDE}/"}, [], "user name"),
    "backslash": ({"url": f"http://good.ea.example\\@{INSIDE}/"}, [], "backslash"),
    "name": ({"url": "http://inside.ea.example/"}, [], "inside.ea.example is refused"),
    "name-tls": ({"url": "https://inside.ea.example/"}, [], "inside.ea.example is refused"),
    "name-dot": ({"url": "http://Inside.EA.example./"}, [], "inside.ea.example is refused"),
    "zero": ({"url": "http://zero.ea.example:8080/"}, [], "no destination"),
    "loop": ({"url": "http://loop.ea.example:8080/"}, [], "loopback"),
    "shared": ({"url": "http://shared.ea.example/"}, [], "carrier's"),
    "multicast-v4": ({"url": "http://multicast.ea.example/"}, [], "multicast"),
    "link": ({"url": "http://link.ea.example/"}, [], "metadata"),
    "metadata-name": ({"url": "http://metadata.google.internal/"}, [], "metadata service"),
    "cname": ({"url": "http://to-inside.ea.example/"}, [], "private network"),
    "cname-chain": ({"url": "https://to-to-inside.ea.example/"}, [], "private network"),
    "cname-metadata": ({"url": "http://to-metadata.ea.example/"}, [], "metadata service"),
    "one-of-several": ({"url": "http://mixed.ea.example/"}, [], "private network"),
    "one-of-both-families": ({"url": "http://mixed6.ea.example/"}, [], "private network"),
    "last-of-sixty-by-tcp": ({"url": "http://long.ea.example/"}, [], "private network"),
    **{
        f"aaaa-{form}": ({"url": f"http://aaaa-{form}.ea.example/"}, [], f"aaaa-{form}.ea.example is refused")
        for form in EMBEDDED
    },
    # the second look-up, for the second connection, is answered with the internal address
    "flips": (redirect("http://flips.ea.example/x", start="http://flips.ea.example"), [PUBLIC], "private network"),
    "flips-tls": (
        redirect("https://flips-tls.ea.example/x", start="https://flips-tls.ea.example"),
        [PUBLIC],
        "private network",
    ),
    "flips-back": ({"url": "http://flips-back.ea.example/"}, [], "private network"),
    **{
        f"redirect-{status}": (redirect(f"http://{INSIDE}/", status=status), [PUBLIC], "redirects elsewhere")
        for status in (301, 302, 303, 307, 308)
    },
    "redirect-tls": (redirect(f"https://{INSIDE}/", start="https://good.ea.example"), [PUBLIC], "redirects elsewhere"),
    "redirect-name": (redirect("http://inside.ea.example/"), [PUBLIC], "inside.ea.example is refused"),
    "redirect-cname": (redirect("http://to-inside.ea.example/"), [PUBLIC], "private network"),
    "redirect-metadata": (redirect(f"http://{METADATA}/"), [PUBLIC], "metadata service"),
    "redirect-decimal": (redirect("http://167772165/"), [PUBLIC], "ends in a number"),
    "redirect-no-scheme": (redirect(f"//{INSIDE}/"), [PUBLIC], "redirects elsewhere"),
    "redirect-mapped": (redirect("http://[::ffff:a00:5]/"), [PUBLIC], "leads to 10.0.0.5"),
    "redirect-user-info": (redirect(f"http://good.ea.example@{INSIDE}/"), [PUBLIC], "user name"),
    "redirect-file": (redirect("file:///etc/passwd"), [PUBLIC], "no http URL"),
    "redirect-second-hop": (
        redirect(f"http://other.ea.example/?to=http://{INSIDE}/"),
        [PUBLIC, OTHER],
        "redirects elsewhere",
    ),
    "https-to-http": (
        redirect("http://other.ea.example/", start="https://good.ea.example"),
        [PUBLIC],
        "from https to http",
    ),
    "body-elsewhere": (
        redirect("http://other.ea.example/", status=307, method="POST", body="b"),
        [PUBLIC],
        "the body is not sent",
    ),
    "round-and-round": (
        {"url": "http://good.ea.example/?to=%3Fto%3D%253Fto%253D%25253Fto%25253D%2525253Fto%2525253D%252525253Fto%252525253D%25252525253Fto%25252525253Dx", "followRedirects": True},
        [PUBLIC] * 6,
        "redirects on after 5",
    ),
}  # fmt: skip
ALLOWED = {
    "plain": ({"url": "http://good.ea.example/"}, [PUBLIC]),
    "plain-port": ({"url": "http://good.ea.example:8080/"}, [PUBLIC]),
    "tls": ({"url": "https://good.ea.example/"}, [PUBLIC]),
    "v6": ({"url": "http://good6.ea.example/"}, [PUBLIC6]),
    "v6-tls": ({"url": "https://good6.ea.example:8443/"}, [PUBLIC6]),
    "address": ({"url": f"http://{PUBLIC}/"}, [PUBLIC]),
    "address-6": ({"url": f"http://[{PUBLIC6}]/"}, [PUBLIC6]),
    "cname-good": ({"url": "http://to-good.ea.example/"}, [PUBLIC]),
    # looked up once: what the name says by the time of the connection no longer counts
    "flips-between": ({"url": "http://flips-between.ea.example/"}, [PUBLIC]),
    "redirected": (redirect("http://other.ea.example/"), [PUBLIC, OTHER]),
    "redirected-tls": (redirect("https://other.ea.example/", start="https://good.ea.example"), [PUBLIC, OTHER]),
    "redirected-up": (redirect("https://good.ea.example/"), [PUBLIC, PUBLIC]),
    "not-followed": ({"url": f"http://good.ea.example/?to=http://{INSIDE}/"}, [PUBLIC]),
}
WITH_CREDENTIAL = {
    "credential-same-origin": redirect("/x"),
    "credential-elsewhere": redirect("http://other.ea.example/?to=http%3A//good.ea.example/y"),
    "credential-other-port": redirect("http://good.ea.example:8080/"),
    "credential-up": redirect("https://good.ea.example/"),
}
# with ALLOW_PRIVATE_NETWORK=true, and with HTTP_ALLOWED_NETWORKS
OPENED = {
    "private-inside": ({"url": f"http://{INSIDE}/"}, [INSIDE]),
    "private-name": ({"url": "https://inside.ea.example/"}, [INSIDE]),
    "private-loop": ({"url": "http://loop.ea.example:8080/"}, ["127.0.0.1"]),
}
STILL_CLOSED = {
    "still-metadata": {"url": f"http://{METADATA}/latest/meta-data/"},
    "still-metadata-name": {"url": "http://metadata.google.internal/"},
    "still-link": {"url": "http://link.ea.example/"},
    "still-cname": {"url": "http://to-metadata.ea.example/"},
    "still-alibaba": {"url": "http://alibaba.ea.example/"},
    "still-metadata-6": {"url": "http://metadata6.ea.example/"},
    "still-metadata-nat64": {"url": "http://metadata64.ea.example/"},
    "still-azure": {"url": "http://168.63.129.16/"},
    "still-decimal": {"url": "http://2852039166/"},
}
NETWORKS = {
    "networks-inside": ({"url": f"http://{INSIDE}/"}, [INSIDE]),
    "networks-name": ({"url": "http://inside.ea.example/"}, [INSIDE]),
    "networks-redirect": (redirect("http://inside.ea.example/"), [PUBLIC, INSIDE]),
    "networks-elsewhere": ({"url": "http://elsewhere.ea.example/"}, []),
    "networks-loop": ({"url": "http://loop.ea.example:8080/"}, []),
    "networks-metadata": ({"url": "http://link.ea.example/"}, []),
}


def jobs(*tables):
    return [
        {"name": name, "params": entry[0] if isinstance(entry, tuple) else entry}
        for table in tables
        for name, entry in table.items()
    ]


@pytest.fixture(scope="module")
def happened():
    credential = {"authType": "bearer", "token": TOKEN, "baseUrl": "http://good.ea.example"}
    headers = {"headers": {"X-Own-Token": "k3y-k3y-k3y", "Cookie": "session=1", "Accept-Language": "de"}}
    homes = [
        {"settings": {}, "jobs": [*jobs(REFUSED, ALLOWED), *({"name": name, "params": {**params, **headers}, "credential": credential} for name, params in WITH_CREDENTIAL.items())]},
        {"settings": {"allow_private_network": True}, "jobs": jobs(OPENED, STILL_CLOSED)},
        {"settings": {"http_allowed_networks": "10.0.0.0/24,169.254.0.0/16"}, "jobs": jobs(NETWORKS)},
    ]  # fmt: skip
    return json.loads(
        run_in_own_network("tests.workers.executors.internet", json.dumps({"zone": ZONE, "homes": homes}))
    )


def reached(seen):
    """The addresses that got a connection; the kernel has counted no other."""
    by_tcp = sum(transport == "tcp" for _, _, transport in seen["asked"])
    assert seen["opened"] <= len(seen["connections"]) + by_tcp
    return [address for address, _ in seen["connections"]]


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_inside_is_reached(happened, name):
    seen = happened[name]
    _, connections, words = REFUSED[name]
    assert seen["result"]["status"] == "error"
    assert words in seen["result"]["error"]
    assert reached(seen) == connections
    assert MAY_BE_REACHED.issuperset(connections)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_public_works(happened, name):
    seen = happened[name]
    assert seen["result"]["status"] == "success", seen["result"]["error"]
    assert seen["result"]["output"]["body"] == f"reached {ALLOWED[name][1][-1]}"
    assert reached(seen) == ALLOWED[name][1]


def test_a_name_is_looked_up_once_a_connection(happened):
    asked = happened["flips-between"]["asked"]
    assert sorted(kind for _, kind, _ in asked) == ["A", "AAAA"]


def test_long_answers_come_by_tcp(happened):
    assert "tcp" in {transport for _, _, transport in happened["last-of-sixty-by-tcp"]["asked"]}


@pytest.mark.parametrize("name", WITH_CREDENTIAL)
def test_credentials_stay_with_their_origin(happened, name):
    seen = happened[name]
    assert seen["result"]["status"] == "success", seen["result"]["error"]
    heads = [head.lower() for _, head in seen["requests"]]
    assert len(heads) == (3 if name == "credential-elsewhere" else 2)
    for number, head in enumerate(heads):
        expected = number == 0 or name == "credential-same-origin"
        for secret in (f"authorization: bearer {TOKEN}", "x-own-token: k3y-k3y-k3y", "cookie: session=1"):
            assert (secret in head) == expected
        assert "accept-language: de" in head


@pytest.mark.parametrize("name", OPENED)
def test_the_owner_can_open_private_networks(happened, name):
    seen = happened[name]
    assert seen["result"]["status"] == "success", seen["result"]["error"]
    assert reached(seen) == OPENED[name][1]


@pytest.mark.parametrize("name", STILL_CLOSED)
def test_metadata_stays_closed_with_private_networks_open(happened, name):
    seen = happened[name]
    assert seen["result"]["status"] == "error"
    assert "metadata" in seen["result"]["error"] or "ends in a number" in seen["result"]["error"]
    assert reached(seen) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_named_networks_open_what_they_name(happened, name):
    seen = happened[name]
    assert reached(seen) == NETWORKS[name][1]
    assert seen["result"]["status"] == ("success" if NETWORKS[name][1] else "error")
