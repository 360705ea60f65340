"""Whole URLs that have fooled filters, each with its trick and the words of the refusal.

Refused by a strict policy before any look-up: the resolver of these tests fails when it is asked.
"""

import asyncio

import pytest

from easyalert.errors import AddressRefused, InvalidParameter
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.resolver import resolve_and_judge
from easyalert.netguard.target import parse_target

STRICT = NetworkPolicy()

NUMBER = "ends in a number"
METADATA = "metadata service"
LOOP = "loopback"
PRIVATE = "private network"
USER = "user name"
NAME = "no host name"
CHARACTERS = "characters no host name has"
BRACKETS = "no plain IPv6 address in brackets"
SIGNS = "a space, a backslash or a control character"
SCHEME = "must start with http"
PORT = "port that is no number"

REFUSED = [
    # spellings of 127.0.0.1, 10.0.0.5 and 169.254.169.254 that inet_aton takes
    ("http://127.0.0.1/", "plain", LOOP),
    ("http://127.1/", "two parts", NUMBER),
    ("http://127.0.1/", "three parts", NUMBER),
    ("http://2130706433/", "one decimal number", NUMBER),
    ("http://0x7f000001/", "one hexadecimal number", NUMBER),
    ("http://0X7F000001/", "hexadecimal in capitals", NUMBER),
    ("http://017700000001/", "one octal number", NUMBER),
    ("http://0177.0.0.1/", "octal part", NUMBER),
    ("http://0x7f.0.0.1/", "hexadecimal part", NUMBER),
    ("http://0x7f.0x0.0x0.0x1/", "hexadecimal parts", NUMBER),
    ("http://127.0.0.0x1/", "hexadecimal last part", NUMBER),
    ("http://127.0.0.01/", "leading zero", NUMBER),
    ("http://00000127.0.0.1/", "many leading zeros", NUMBER),
    ("http://127.0.0.1./", "trailing dot", NUMBER),
    ("http://127.0.0.1../", "two trailing dots", NAME),
    ("http://4294967297/", "number that overflows to 1", NUMBER),
    ("http://127.0.0.257/", "part that overflows", NUMBER),
    ("http://383.0.0.1/", "first part that overflows to 127", NUMBER),
    ("http://0/", "zero", NUMBER),
    ("http://0.0.0.0/", "this host", "no destination"),
    ("http://127.127.127.127/", "another loopback address", LOOP),
    ("http://167772165/", "10.0.0.5 as a number", NUMBER),
    ("http://10.5/", "10.0.0.5 in two parts", NUMBER),
    ("http://2852039166/", "metadata as a number", NUMBER),
    ("http://0xA9FEA9FE/", "metadata in hexadecimal", NUMBER),
    ("http://0251.0376.0251.0376/", "metadata in octal", NUMBER),
    ("http://169.254.43518/", "metadata in three parts", NUMBER),
    ("http://1.2.3.4.5/", "five parts", NUMBER),
    ("http://example.com.0x7f000001/", "name that ends in a number", NUMBER),
    ("http://foo.127/", "name that ends in a number", NUMBER),
    # networks that are not the internet
    ("http://10.255.255.254/", "RFC 1918", PRIVATE),
    ("http://172.16.0.1/", "RFC 1918", PRIVATE),
    ("http://172.31.255.254/", "RFC 1918, upper end", PRIVATE),
    ("http://192.168.1.1/", "RFC 1918", PRIVATE),
    ("http://100.64.0.1/", "a carrier's network", "carrier"),
    ("http://100.127.255.254/", "a carrier's network, upper end", "carrier"),
    ("http://169.254.1.1/", "link-local", "link-local"),
    ("http://192.0.0.8/", "protocols", "reserved for protocols"),
    ("http://192.0.2.1/", "documentation", "documentation"),
    ("http://192.88.99.1/", "6to4 relays", "6to4"),
    ("http://198.18.0.1/", "benchmarks", "benchmarking"),
    ("http://224.0.0.1/", "multicast", "multicast"),
    ("http://240.0.0.1/", "reserved", "reserved"),
    ("http://255.255.255.255/", "broadcast", "broadcast"),
    # metadata
    ("http://169.254.169.254/latest/meta-data/", "most clouds", METADATA),
    ("http://169.254.170.2/v2/credentials", "task credentials", METADATA),
    ("http://100.100.100.200/latest/", "in a carrier's range", METADATA),
    ("http://168.63.129.16/", "in public space", METADATA),
    ("http://192.0.0.192/", "in the protocols' range", METADATA),
    ("http://[fd00:ec2::254]/", "IPv6", METADATA),
    ("http://[fd20:ce::254]/", "IPv6", METADATA),
    ("http://metadata.google.internal/", "by name", METADATA),
    ("http://METADATA.Google.Internal/", "by name, mixed case", METADATA),
    ("http://metadata.google.internal./", "by name, trailing dot", METADATA),
    ("http://metadata/", "short name", METADATA),
    ("http://instance-data/", "short name", METADATA),
    # IPv6 forms of IPv4 addresses
    ("http://[::1]/", "loopback", LOOP),
    ("http://[0:0:0:0:0:0:0:1]/", "loopback, written out", LOOP),
    ("http://[0000:0000:0000:0000:0000:0000:0000:0001]/", "loopback, with zeros", LOOP),
    ("http://[::]/", "unspecified", "no destination"),
    ("http://[::ffff:127.0.0.1]/", "mapped", LOOP),
    ("http://[::ffff:7f00:1]/", "mapped, hexadecimal", LOOP),
    ("http://[0:0:0:0:0:ffff:7f00:0001]/", "mapped, written out", LOOP),
    ("http://[::FFFF:10.0.0.5]/", "mapped, capitals", PRIVATE),
    ("http://[::ffff:169.254.169.254]/", "mapped metadata", METADATA),
    ("http://[::ffff:0:127.0.0.1]/", "translated", LOOP),
    ("http://[::ffff:0:a9fe:a9fe]/", "translated metadata", METADATA),
    ("http://[::127.0.0.1]/", "compatible", LOOP),
    ("http://[::7f00:1]/", "compatible, hexadecimal", LOOP),
    ("http://[::a9fe:a9fe]/", "compatible metadata", METADATA),
    ("http://[2002:7f00:1::]/", "6to4", LOOP),
    ("http://[2002:a9fe:a9fe::1]/", "6to4 metadata", METADATA),
    ("http://[2001:0:a00:5::f7f7:f7f7]/", "Teredo server", PRIVATE),
    ("http://[2001:0:808:808::80ff:fffe]/", "Teredo client", LOOP),
    ("http://[64:ff9b::7f00:1]/", "NAT64", LOOP),
    ("http://[64:ff9b::169.254.169.254]/", "NAT64 metadata", METADATA),
    ("http://[64:ff9b:1::a00:5]/", "local NAT64, /96", PRIVATE),
    ("http://[64:ff9b:1:a00:0:500::]/", "local NAT64, /48; read as /96 it is 0.0.0.0", "no destination"),
    ("http://[64:ff9b:1:a00:0:508:808:808]/", "local NAT64, /48 with a public address behind", PRIVATE),
    ("http://[2606:4700::5efe:10.0.0.5]/", "ISATAP", PRIVATE),
    ("http://[2606:4700::200:5efe:a9fe:a9fe]/", "ISATAP, universal, metadata", METADATA),
    ("http://[fc00::1]/", "private IPv6", PRIVATE),
    ("http://[fdff::1]/", "private IPv6, upper end", PRIVATE),
    ("http://[fe80::1]/", "link-local", "link-local"),
    ("http://[fec0::1]/", "site-local", "site-local"),
    ("http://[ff02::1]/", "multicast", "multicast"),
    ("http://[2001:db8::1]/", "documentation", "documentation"),
    ("http://[100::1]/", "discard prefix", "discard"),
    ("http://[5f00::1]/", "segment routing", "segment routing"),
    ("http://[4000::1]/", "unassigned", "outside the public range"),
    ("http://[fe80::1%25eth0]/", "zone, encoded", BRACKETS),
    ("http://[fe80::1%eth0]/", "zone", BRACKETS),
    ("http://[::1%25lo]/", "zone on loopback", BRACKETS),
    ("http://[127.0.0.1]/", "IPv4 in brackets", BRACKETS),
    ("http://[::ffff:127.1]/", "short IPv4 inside", BRACKETS),
    ("http://[::1/", "no closing bracket", BRACKETS),
    ("http://[]/", "nothing in brackets", BRACKETS),
    ("http://[v1.fe80::a+en1]/", "an address of the future", BRACKETS),
    ("http://[[::1]]/", "two brackets", BRACKETS),
    ("http://[::1]x/", "text after the bracket", "between the address and the port"),
    ("http://::1/", "IPv6 without brackets", "names no host"),
    # look-alikes
    ("http://\uff11\uff12\uff17.0.0.1/", "full-width digits", CHARACTERS),
    ("http://①②⑦.⓪.⓪.①/", "circled digits", CHARACTERS),
    ("http://127。0。0。1/", "ideographic dots", CHARACTERS),
    ("http://127\uff0e0\uff0e0\uff0e1/", "full-width dots", CHARACTERS),
    ("http://127\uff610\uff610\uff611/", "half-width dots", CHARACTERS),
    ("http://\u0661\u0662\u0667.0.0.1/", "Arabic digits", "number|characters"),
    ("http://loc\u00adalhost/", "soft hyphen", CHARACTERS),
    ("http://local\u200bhost/", "space of no width", CHARACTERS),
    ("http://loca\u217chost/", "Roman numeral", CHARACTERS),
    ("http://ⓛocalhost/", "circled letter", CHARACTERS),
    ("http://exam\u2024ple.com/", "one-dot leader", CHARACTERS),
    # parser tricks
    ("http://good.example@10.0.0.5/", "user-info", USER),
    ("http://good.example:80@10.0.0.5/", "user-info like a port", USER),
    ("http://user:pw@good.example/", "password", USER),
    ("http://@10.0.0.5/", "empty user-info", USER),
    ("http://a@b@10.0.0.5/", "two signs", USER),
    ("http://good.example%40@10.0.0.5/", "encoded sign before a sign", USER),
    ("http://10.0.0.5%2f@good.example/", "encoded slash", USER),
    ("http://good.example\\@10.0.0.5/", "backslash before the sign", SIGNS),
    ("http://10.0.0.5\\.good.example/", "backslash in the name", SIGNS),
    ("http:\\\\10.0.0.5/", "backslashes for slashes", SIGNS),
    ("http://10.0.0.5#@good.example/", "fragment ends the host", PRIVATE),
    ("http://10.0.0.5?@good.example/", "query ends the host", PRIVATE),
    ("http://10.0.0.5;@good.example/", "semicolon", USER),
    ("http://10.0.0.5%00.good.example/", "encoded zero byte", NAME),
    ("http://%31%30.0.0.5/", "encoded digits", NUMBER + "|" + NAME),
    ("http://localhost%2f.good.example/", "encoded slash in the name", NAME),
    ("http://good.example%0d%0aHost:x/", "encoded line break", NAME + "|" + PORT),
    ("http://10.0.0.5\t.good.example/", "tab", SIGNS),
    ("http://10.0.0.5\r\n.good.example/", "line break", SIGNS),
    ("http://10.0.0.5\x00.good.example/", "zero byte", SIGNS),
    ("http://10.0.0.5 .good.example/", "space", SIGNS),
    ("\thttp://10.0.0.5/", "tab before the scheme", SIGNS),
    ("http://10.0.0.5,good.example/", "comma", NAME),
    ("http://good.example:80:80/", "two ports", PORT),
    ("http://good.example:80,10.0.0.5/", "host after the port", PORT),
    ("http://good.example:+80/", "signed port", PORT),
    ("http://good.example:0x50/", "hexadecimal port", PORT),
    ("http://good.example:65616/", "port that overflows to 80", PORT),
    ("http://good.example:\uff18\uff10/", "full-width port", PORT),
    ("http:///10.0.0.5/", "three slashes", "names no host"),
    ("http:10.0.0.5/", "no slashes", SCHEME),
    ("http:/10.0.0.5/", "one slash", SCHEME),
    ("//10.0.0.5/", "no scheme", SCHEME),
    ("HtTp://10.0.0.5/", "mixed case scheme", PRIVATE),
    ("HTTPS://127.0.0.1:443/", "capitals", LOOP),
    ("file:///etc/passwd", "another scheme", SCHEME),
    ("gopher://10.0.0.5:6379/_x", "another scheme", SCHEME),
    ("dict://10.0.0.5:11211/", "another scheme", SCHEME),
    ("ftp://10.0.0.5/", "another scheme", SCHEME),
    ("unix:///run/docker.sock", "another scheme", SCHEME),
    ("http+unix://%2frun%2fdocker.sock/", "another scheme", SCHEME),
    ("jar:http://10.0.0.5!/", "a URL in a URL", SCHEME),
    ("url:http://10.0.0.5/", "a URL in a URL", SCHEME),
    ("http://-good.example/", "hyphen first", NAME),
    ("http://good..example/", "empty label", NAME),
    ("http://.good.example/", "dot first", NAME),
]
NAMES = [
    ("http://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("http://bücher.example/", "xn--bcher-kva.example"),
    ("http://BÜCHER.example/", "xn--bcher-kva.example"),
    ("http://127.0.0.1.nip.example/", "127.0.0.1.nip.example"),
    ("http://10-0-0-5.dns.example/", "10-0-0-5.dns.example"),
    ("http://good.example./", "good.example"),
    ("http://0x7f.example/", "0x7f.example"),
    ("http://good.example#@10.0.0.5/", "good.example"),
    ("http://good.example?@10.0.0.5/", "good.example"),
    ("http://good.example/@10.0.0.5/", "good.example"),
    ("http://good.example/\u2215", "good.example"),
    ("http://localhost/", "localhost"),
]


class Nobody:
    """A resolver that must not be asked."""

    async def lookup(self, host, _port):
        raise AssertionError(f"{host} was looked up")


class Inside:
    """A resolver that sends every name to a private address."""

    async def lookup(self, _host, _port):
        return ["1.1.1.1", "10.0.0.5"]


def go(url, resolver):
    target = parse_target(url, STRICT)
    return asyncio.run(resolve_and_judge(target.host, target.port, STRICT, resolver))


def test_there_are_enough_of_them():
    assert len({url for url, _, _ in REFUSED}) == len(REFUSED) > 150


@pytest.mark.parametrize(("url", "trick", "words"), REFUSED, ids=lambda value: ascii(value)[1:60])
def test_refused(url, trick, words):
    assert trick
    with pytest.raises((AddressRefused, InvalidParameter), match=words):
        go(url, Nobody())


@pytest.mark.parametrize(("url", "host"), NAMES, ids=lambda value: ascii(value)[1:60])
def test_names_are_the_resolvers_to_judge(url, host):
    assert parse_target(url, STRICT).host == host
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.5"):
        go(url, Inside())
