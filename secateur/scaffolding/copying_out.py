"""``secateur init --full``: the flows and stages of the package become files of a project."""

import os
import shutil
from pathlib import Path

from secateur.errors import ProjectError
from secateur.files import replacing
from secateur.workflow.full_form import KINDS, carrier, is_own


def check_room(root: Path) -> None:
    """Refuse a folder that has its own form already, or something else under its names.

    Raises:
        ProjectError: naming what is there.
    """
    own = [f"{kind}/" for kind in KINDS if is_own(root, kind)]
    if len(own) == len(KINDS):
        raise ProjectError(f"{root} has its own {' and '.join(own)} already, and nothing is overwritten")
    for kind in KINDS:
        if os.path.lexists(root / kind) and not is_own(root, kind):
            raise ProjectError(
                f"{root / kind} is there already and is not ours; without --full it is left alone, with --full it has "
                "to make room"
            )


def copy_out(root: Path) -> list[str]:
    """Write the folders that a project does not have yet, each as a whole; return the names of their files.

    The code of the stages stays the same, so nothing becomes stale.

    Raises:
        ProjectError: as ``check_room``.
    """
    check_room(root)
    written = []
    for kind in KINDS:
        if is_own(root, kind):
            continue
        files = sorted((carrier() / kind).glob("*.py"))
        with replacing(root / kind) as folder:
            folder.mkdir()
            for file in files:
                shutil.copyfile(file, folder / file.name)
        written += [f"{kind}/{file.name}" for file in files]
    return written
