"""What Windows consoles print, piece by piece."""

import pytest

from workers.sdk.winrm_text import ConsoleText, ErrorText

PROGRESS = (
    '<Obj S="progress" RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T></TN><MS>'
    '<I64 N="SourceId">1</I64><Obj N="x" RefId="2"><S>no message</S></Obj><PR N="Record"><AV>Preparing modules.</AV>'
    '<AI>0</AI><Nil /><PC>-1</PC><T>Completed</T></PR></MS></Obj><Obj S="progress" RefId="3" />'
)
ERROR = '<S S="Error">Get-Item : Cannot find &lt;&apos;x&amp;y&apos;&gt; because_x000D__x000A_</S>'

SAID = "Get-Item : Cannot find <'x&y'> because\r\n"


def document(*parts):
    start = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
    return f"#< CLIXML\r\n{start}{''.join(parts)}</Objs>"


def said(text, size=10**9):
    stream = ErrorText()
    pieces = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return "".join(pieces) + stream.feed("", final=True)


@pytest.mark.parametrize("size", [1, 2, 7, 10**9])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (document(ERROR), SAID),
        (document(PROGRESS, ERROR, PROGRESS), SAID),
        (document(PROGRESS), ""),
        (document(), ""),
        (document('<S S="Error" />', '<S S="Error"></S>', '<S S="unknown">x</S>'), ""),
        (document('<S S="warning">slow_x000A_</S>', '<S S="verbose">v</S>'), "WARNING: slow\nVERBOSE: v\n"),
        (document('<S S="Error">_xD83D__xDE00_ ü _x005F_x000A_</S>'), "😀 ü _x000A_"),
        (f"before\r\n{document(ERROR)}between\r\n{document(ERROR)}after", f"before\r\n{SAID}between\r\n{SAID}after"),
        ("plain #< CLIXM", "plain #< CLIXM"),
        ("plain # <#<#<", "plain # <#<#<"),
        ("#< CLIXML\r\nno document <at all>", "no document <at all>"),
        (document(ERROR)[:-10], ERROR[:-3]),
        ("", ""),
    ],
)  # fmt: skip
def test_messages_come_out_of_the_xml_however_it_is_cut(text, wanted, size):
    assert said(text, size) == wanted


def test_what_never_ends_is_passed_on_and_not_kept():
    stream = ErrorText()
    size = 0
    stream.feed('#< CLIXML\r\n<Objs><S S="Error">')
    for _ in range(30):
        size += len(stream.feed("x" * 100_000))
        assert len(stream._waiting) < 1_300_000
    assert size > 2_900_000


def test_a_bomb_of_entities_is_text():
    bomb = '#< CLIXML\r\n<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><Objs><S S="Error">&a;&a;</S></Objs>'
    assert "aaaaaaaaaa" in said(bomb)
    assert len(said(bomb)) < len(bomb)


@pytest.mark.parametrize("size", [1, 3, 10**9])
@pytest.mark.parametrize(
    ("codepage", "data", "wanted"),
    [
        (65001, "Grüße €".encode(), "Grüße €"),
        (65001, b"\xef\xbb\xbfx", "x"),
        (65001, b"caf\xe9!", "caf�!"),
        (850, "Grüße".encode("cp850"), "Grüße"),
        (1252, b"\x80 50", "€ 50"),
        (932, "日本".encode("cp932"), "日本"),
    ],
)
def test_code_pages(codepage, data, wanted, size):
    console = ConsoleText(codepage)
    text = "".join(console.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert text + console.feed(b"", final=True) == wanted


@pytest.mark.parametrize("mark", [b"\xff\xfe", b""])
def test_utf_16_is_known_by_its_bytes(mark):
    console = ConsoleText(65001)
    data = mark + "Ubuntu läuft 😀\r\n".encode("utf-16-le")
    text = console.feed(data[:21]) + console.feed(data[21:]) + console.feed(b"", final=True)
    assert text == "Ubuntu läuft 😀\r\n"


def test_utf_16_in_the_middle_can_be_read_and_redacted():
    console = ConsoleText(65001)
    assert console.feed(b"first\r\n") + console.feed("s3cr3t".encode("utf-16-le")) == "first\r\ns3cr3t"
