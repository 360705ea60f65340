"""Pages of files: which may be let go, and that everything still works without them."""

from __future__ import annotations

import subprocess
import sys

from easyalert.file_pages import untouched

SMAPS = """\
5000-6000 r--p 00000000 fe:00 11 /usr/lib/a.so
Rss:                  4 kB
Anonymous:            0 kB
VmFlags: rd mr
6000-8000 r-xp 00001000 fe:00 11 /usr/lib/a.so (deleted)
Anonymous:            0 kB
8000-9000 r--p 00003000 fe:00 11 /usr/lib/relocated.so
Anonymous:            4 kB
9000-a000 rw-p 00004000 fe:00 11 /usr/lib/a.so
Anonymous:            0 kB
a000-b000 r--s 00000000 fe:00 12 /var/shared
Anonymous:            0 kB
b000-c000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:            0 kB
c000-d000 r--p 00000000 00:00 0
Anonymous:            0 kB
"""

PROGRAM = """
import ssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from easyalert import file_pages

def resident():
    return int(open("/proc/self/status").read().split("RssFile:")[1].split()[0])

key = X25519PrivateKey.generate()
before = resident()
file_pages.let_go()
left = resident()
key.exchange(X25519PrivateKey.generate().public_key())
ssl.create_default_context()
try:
    {}["missing"]
except KeyError:
    print(left < before / 2)
"""


def test_only_what_was_never_written_to_may_be_let_go():
    assert list(untouched(SMAPS)) == [(0x5000, 0x6000), (0x6000, 0x8000)]


def test_what_is_used_again_comes_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
