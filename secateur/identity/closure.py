"""Which source files a stage uses: the import closure of its module, wherever its packages are installed.

DVC does not follow imports, so a stage whose library code changed would count as up to date. Imports inside
functions count too; those under ``if TYPE_CHECKING`` do not, since they never run.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from secateur.identity.sources import Sources

"""Files beside the modules of a package that decide its output."""

"""What a kind of task is asked for: its methods count one by one, see ``kind_code``."""


def closure(*modules: str, roots: Mapping[str, Path], sources: Sources) -> dict[str, Path]:
    """Return the files that modules use.

    Args:
        modules: their dotted names.
        roots: top-level package -> the folder that holds it; what other packages define is not followed.
        sources: reads the files.

    Returns:
        The path from the root, as in ``secateur/pruning/round.py`` -> file, sorted.
    """
    found: dict[str, Path] = {}
    waiting = [*modules]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        root = roots.get(name.partition(".")[0])
        if name in seen or root is None:
            continue
        seen.add(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        files, imports = sources.module(root, name)
        found |= files
        waiting.extend(imports)
    return dict(sorted(found.items()))


def digest_of(files: Mapping[str, Path], sources: Sources) -> str:
    """Digest what the files of a closure do: 32 hex digits."""
    lines = "".join(f"{name} {sources.read(file).digest}\n" for name, file in files.items())
    return hashlib.sha256(lines.encode()).hexdigest()[:32]
