"""What a stage has to say to the person who ran it, once it has ended: one line each, from what it wrote."""

from pathlib import Path

from secateur.data.encoding import head_length
from secateur.kinds.registry import kind_named
from secateur.models.card import Card
from secateur.statistics.table_size import shortfalls
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.results import read_json


def remarks(root: Path, address: str) -> tuple[str, ...]:
    """Return the lines of one stage; none where everything came out as the parameters say.

    Args:
        root: folder of the project.
        address: of a stage that has run (``baseline``, ``prune@r2``).
    """
    name, _, item = address.partition("@")
    if name == "ingest":
        return tuple(read_json(root / "data" / "raw" / "provenance.json").get("remarks", ()))
    if name == "clean":
        report = read_json(root / "reports" / "data.json")
        return (*report.get("remarks", ()), *shortfalls(report, read_config(Project(root))))
    if name in ("baseline", "prune"):
        card = Card.found_in(root / "models" / (item or name))
        of_dense = (*_of_cut(card, root=root), *_of_learning(card, root=root)) if name == "baseline" else ()
        return (*of_dense, *_of_vocabulary(card), *_of_training(card, section=_SECTIONS[name]))
    return ()


_HARDLY = 1e-3
_SECTIONS = {"baseline": "baseline", "prune": "prune.recovery"}


def _of_vocabulary(card: Card) -> tuple[str, ...]:
    """Say how many tokens stayed, and what the cut cost."""
    from secateur.pruning.vocabulary_check import VocabularyCut  # which brings torch, and cleaning has need of the room

    cut = card.came_to.vocabulary
    return (f"vocabulary: {VocabularyCut(**cut).summary()}",) if cut else ()


def _of_cut(card: Card, *, root: Path) -> tuple[str, ...]:
    """Say of how many training texts the dense model did not see all, or not at once."""
    cut, found = card.cut_texts or 0, card.windowed or {}
    if not (long := found.get("texts", cut)):
        return ()
    report, limit = read_json(root / "reports" / "data.json"), card.require_max_length()
    rows = report.get("rows", {}).get("train", long)
    share = f"{long} of {rows} training texts ({long / rows:.1%})"
    said = f"{share} were cut at baseline.max_length={limit} tokens"
    if card.long_texts is None:
        return (f"{said}: what stands behind is not read",)
    cut_before = [rule["rows"] for rule in report.get("rules", ()) if rule["rule"] == "max_chars" and rule["rows"]]
    lost = f"{cut_before[0]} texts had lost their end before that, at clean.max_chars" if cut_before else ""
    if card.windowed is not None:
        told = (
            f"{share} have more than baseline.max_length={limit} tokens, and are read in windows: "
            f"{found['windows'] / long:.1f} on average, {found['most']} at most"
        )
        unread = f"; of {cut} something between two of baseline.max_windows={card.max_windows} is not read"
        return (told + (unread if cut else ""), *([f"{lost}; a larger one keeps it"] if lost else []))
    head = head_length(limit)
    ends = f"what baseline.long_texts={card.long_texts} takes for their last tokens stands in their middle"
    return (
        f"{said}: what stands between their first {head} and last {limit - head} is not read",
        *([f"{lost}: {ends}; a larger one keeps it"] if lost else []),
    )


def _of_learning(card: Card, *, root: Path) -> tuple[str, ...]:
    """Say that the dense model learned nothing, when one answer for every row would score as well."""
    if card.task is None:
        return ()
    kind = kind_named(card.task)
    data = read_json(root / "reports" / "data.json")
    rows_of = {name: rows.get("validation", 0) for name, rows in data.get("labels", {}).items()}
    if kind.label_sets:
        rows_of[""] = data.get("rows", {}).get("validation", 0)
    untaught = kind.untaught(rows_of)
    found = card.came_to.metrics.get(f"validation_{kind.measure.name}")
    if untaught is None or found is None or kind.measure.is_better(found, untaught + _HARDLY):
        return ()
    return (
        f"it has learned nothing: {kind.measure.title} {found:.4f} on validation, and the same answer for every text "
        f"has {untaught:.4f}; a larger baseline.learning_rate, more epochs or another baseline.model would help",
    )


def _of_training(card: Card, *, section: str) -> tuple[str, ...]:
    """Say when the floor under the steps, or the end of all progress, decided how long a model was trained."""
    length = card.came_to.training
    if length and "ended" in length:
        epochs = length["epochs"] * length["ended"] / length["steps"]
        said = f"trained for {length['ended']} of {length['steps']} steps, {epochs:.1f} epochs"
        return (f"{said}: neither the loss nor the score on validation got better any more",)
    if not length or length["epochs"] <= length["asked_epochs"]:
        return ()
    return (
        f"trained for {length['steps']} steps ({section}.min_steps), {length['epochs']:.1f} epochs of so few rows; "
        f"epochs={length['asked_epochs']:g} would be fewer",
    )
