"""The examples of docs/policy.md are policies, and its table of keys is the reader's."""

import re
from pathlib import Path

from docs.generate import SETTINGS_PAGE
from easyalert.policy.reading import RULE_KEYS, TOP_KEYS, read_policy

PAGE = SETTINGS_PAGE.with_name("policy.md")


def examples():
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text("utf-8"), re.MULTILINE)
    plain = ["\n".join(line[4:] for line in block.splitlines()) for block in blocks]
    return [block for block in plain if re.search(r"^\[\[", block, re.MULTILINE) and "$ " not in block]


def test_every_example_is_understood():
    assert len(examples()) >= 4
    for example in examples():
        policy = read_policy(example.encode(), Path("docs/policy.md"))
        assert policy.allow or policy.deny


def test_every_key_is_explained():
    text = PAGE.read_text("utf-8")
    for key in {*TOP_KEYS, *RULE_KEYS["allow"], *RULE_KEYS["deny"]}:
        assert f"`{key}" in text or f"[[{key}]]" in text, key
    for row in re.findall(r"^\| (`.+?) \| .* \| (.*) \|$", text, re.MULTILINE):
        keys, denied = re.findall(r"`(\w+)`", row[0]), row[1]
        for key in keys:
            assert (key in RULE_KEYS["deny"]) is (denied != "no"), key
            assert (key in RULE_KEYS["allow"]) is (denied != "only there"), key
