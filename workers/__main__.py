"""`python -I -m workers`: the pool of workers."""

import logging
import os
import sys

from easyalert.errors import EasyAlertError
from easyalert.files import private_folder
from easyalert.runtime import EXIT_CONFIGURATION
from easyalert.startup import begin
from workers.pool import Pool
from workers.toolbox import pack


def main() -> int:
    """Wiring only. Returns the exit code."""
    launcher = os.getppid()
    settings = begin("workers")
    try:
        private_folder(settings.tmp_dir)
        pool = Pool(pack(settings), launcher)
    except (EasyAlertError, OSError):
        logging.getLogger("workers").exception("the workers cannot start")
        return EXIT_CONFIGURATION
    return pool.run()


if __name__ == "__main__":
    sys.exit(main())
