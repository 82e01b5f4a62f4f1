"""``python -m secateur.workflow.dvc_repro``: DVC's own ``dvc repro``, which replaces dvc.lock as a whole."""

import sys

from dvc.cli import main

from secateur.workflow.dvc_lock import written_whole

if __name__ == "__main__":
    with written_whole():
        sys.exit(main(["repro"]))
