from __future__ import annotations

import pytest

from easyalert.clear_text import safe_for_credentials


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://any.example", True),
        ("http://localhost:8080", True),
        ("http://LOCALHOST", True),
        ("http://127.0.0.1:1/x", True),
        ("http://[::1]:8", True),
        ("http://127.0.0.2", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://control.example", False),
        ("http://[::2]", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_only_this_machine_may_be_spoken_to_in_clear(url, safe):
    assert safe_for_credentials(url) is safe
