"""Exit codes of `easyalert-controlplane`, each with one meaning."""

from typing import Final

OK: Final = 0
FAILURE: Final = 1
"""Something went wrong that none of the others names; the sentence says what."""
USAGE: Final = 2
"""The arguments or a setting are wrong."""
ADDRESS_UNAVAILABLE: Final = 3
"""The address or port cannot be listened on."""
STORAGE: Final = 4
"""The data folder or the database cannot be used: rights, disk, damage."""
ALREADY_RUNNING: Final = 5
"""Another control plane serves this data folder."""

EPILOG: Final = (
    "exit codes: 0 done or stopped as asked; 1 failed; 2 wrong arguments or settings; 3 address or port not available; "
    "4 data folder or database cannot be used; 5 another control plane serves this data folder"
)
