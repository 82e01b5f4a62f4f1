"""Packages of other people, as installers leave them: source files, and metadata with entry points."""

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path,
    *,
    name: str,
    files: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> None:
    """Write a package into a folder that is on ``sys.path`` of whoever imports it.

    Args:
        site: the folder.
        name: of the distribution.
        files: path below the folder -> source.
        entry_points: group -> name -> ``module:OBJECT``.
        version: of the distribution.
    """
    for path, source in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(source)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {address}" for entry, address in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
