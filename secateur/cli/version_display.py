"""What the terminal shows of one registered version, and of two beside each other."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from secateur.cli.display import paragraph, plain, show, table

if TYPE_CHECKING:
    from secateur.registry.registered_version import RegisteredVersion
    from secateur.registry.tags import VersionTags

_TRAINING = "training/"
_MAX_CHARS = 100


def model_version(entry: "RegisteredVersion") -> None:
    """Print one version, but for its verdict."""
    from secateur.kinds.registry import kind_of_scores
    from secateur.report.measured import measured

    aliases = "".join(f" @{alias}" for alias in entry.aliases)
    title = plain(f"{entry.name} version {entry.version}{aliases}")
    made = table(title, "what was measured", ">value")
    metrics = _without_training(entry.metrics)
    for line in measured([metrics], kind=kind_of_scores(metrics), runtime=entry.tags.runtime):
        made.add_row(plain(line.name), *line.cells)
    if metrics:
        show(made)
    described = table("" if metrics else title, "where it comes from", "")
    described.add_row("Registered", f"{datetime.fromtimestamp(entry.created / 1000, UTC):%Y-%m-%d %H:%M} UTC")
    for name, text in _described(entry.tags):
        described.add_row(plain(name), plain(text))
    show(described)


def comparison(found: Mapping[str, Any], *, runtime: str) -> None:
    """Print two versions side by side, and the rows they disagree on; ``runtime`` is the form that is deployed."""
    from secateur.kinds.registry import kind_named
    from secateur.report.measured import measured

    kind = kind_named(found["task"])
    names = [f"{found[side]['name']} {found[side]['version']}" for side in ("a", "b")]
    click.echo(f"\nDeployed, on the {found['test_rows']} test rows here:")
    made = table("", "score", *(f">{plain(name)}" for name in names))
    scores = [found["scores"][side] for side in ("a", "b")]
    known = {score.name: score for score in kind.presentation().scores}
    for name in sorted(scores[0], key=lambda one: (one not in known, [*known].index(one) if one in known else 0)):
        score = known.get(name)
        said = name.replace("_", " ") if score is None else " ".join(filter(None, (score.title, score.note)))
        made.add_row(plain(said), *(f"{one[name]:.4f}" if score is None else score.write(one[name]) for one in scores))
    show(made)
    built = table("", "what", *(f">{plain(name)}" for name in names))
    metrics = [{name: both[side] for name, both in found["metrics"].items() if both[side] is not None} for side in "ab"]
    for line in measured(metrics, kind=kind, runtime=runtime):
        built.add_row(plain(line.name), *line.cells)
    if metrics[0] or metrics[1]:
        click.echo("\nAs it was measured when each was built:")
        show(built)
    compared = kind.presentation().compared(found, names)
    paragraph(compared.said)
    if compared.rows:
        rows = table("", *map(plain, compared.columns))
        for cells in compared.rows:
            rows.add_row(*map(plain, cells))
        show(rows)


def _without_training(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(_TRAINING)}


def _described(tags: "VersionTags") -> Sequence[tuple[str, str]]:
    """Return what the tags say, in words: ours first, in a fixed order, then those of others under their names."""
    from secateur.registry import tags as names

    words = {
        names.STAGE: "Made by",
        names.STATE: "State",
        names.RUNTIME: "Deployed as",
        names.GATE: "Gate",
        names.COMMIT: "Commit",
        names.REPRODUCIBLE: "From a clean tree",
        names.DIRTY_FILES: "Not committed then",
        names.DATA: "Rows, md5",
        names.DATA_REPORT: "Data report, md5",
        names.KEY: "Identity",
        names.WEIGHTS: "Weights, sha256",
        names.FILES: "Files of the checkpoint",
        names.ARTIFACTS: "Files of the version",
        names.WRAPPER: "Files of MLflow",
        names.INPUTS: "Made from",
        names.FINGERPRINT: "Made with",
        names.FLOW_RUN: "Prefect flow run",
        names.SIGNATURE: "Signature",
        names.MANIFEST: "Manifest",
    }
    rank = {tag: place for place, tag in enumerate(words)}
    ordered = sorted(tags, key=lambda tag: (rank.get(tag, len(rank)), tag))
    shown = [tag for tag in ordered if tag != names.VERDICT and not tag.startswith(names.ENTRY)]
    rows = [(words.get(tag) or _other(tag), _value(tag, tags)) for tag in shown]
    return rows if names.MANIFEST in tags else [*rows, ("Manifest", "none: it was registered before there were any")]


def _other(tag: str) -> str:
    from secateur.registry.tags import APPROVAL, ROLLED_BACK

    if tag.startswith(APPROVAL):
        return f"Approved with {tag.removeprefix(APPROVAL)}"
    if tag.startswith(ROLLED_BACK):
        return f"{tag.removeprefix(ROLLED_BACK)}, rolled back"
    if tag.startswith("secateur.") and tag.endswith("_sha256"):
        return f"{tag.removeprefix('secateur.').removesuffix('_sha256')}, sha256"
    return tag


def _value(tag: str, tags: "VersionTags") -> str:
    from secateur.registry import tags as names
    from secateur.registry.manifest import describe
    from secateur.report import formats

    text, values = tags[tag], tags.json(tag)
    if tag.startswith(names.APPROVAL) and isinstance(values, Mapping):
        values = {name: values.get(name) for name in ("who", "when", "why") if values.get(name)}
    if tag == names.RUNTIME:
        return formats.runtime(text)
    if tag == names.MANIFEST:
        return describe(tags)
    if tag == names.REPRODUCIBLE:
        return "yes, so it can be rebuilt" if tags.is_reproducible else "no"
    if isinstance(values, Mapping):
        if tag in (names.FILES, names.ARTIFACTS, names.WRAPPER):
            return f"{len(values)}, each with its sha256" if len(values) != 1 else "1, with its sha256"
        if tag.startswith(names.ROLLED_BACK):
            return str(values.get("reason") or "no reason is given")
        text = ", ".join(f"{name} {value}" for name, value in values.items())
    return text if len(text) < _MAX_CHARS else " ".join(text.split())[: _MAX_CHARS - 3] + "..."
