"""``python -m tasks.dvc_repro``: DVC's own ``dvc repro``, which replaces dvc.lock as a whole."""

import sys

from dvc.cli import main

from tasks.dvc_lock import written_whole

if __name__ == "__main__":
    with written_whole():
        sys.exit(main(["repro"]))
