"""What the generators wrote, side by side: the dense model and the round that the page is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.report.results import Json, ModelResult


@dataclass(frozen=True)
class Passage:
    """A text: its prompt, what was written after it, and whether the model ended it."""

    prompt: str
    written: str
    finished: bool


@dataclass(frozen=True)
class SampleRow:
    """One text per model, all from the same prompt, label and random numbers."""

    kind: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class SampleGroup:
    """The texts of one prompt and label; either may be empty."""

    label: str
    prompt: str
    rows: tuple[SampleRow, ...]


@dataclass(frozen=True)
class WritingRow:
    """How one model's texts look as text.

    Attributes:
        title: of the model.
        distinct: different n-grams over all n-grams for n = 1, 2, 3.
        repetition: share of the 4-grams of a text that stood in it before.
        copied: share of passages of 20 characters that stand in the training texts.
        control: share of its texts that a judge finds to be what was asked for, in the order of the labels.
    """

    title: str
    distinct: tuple[float, ...]
    repetition: float
    copied: float
    control: tuple[float, ...]


def sample_groups(results: Sequence[ModelResult], *, best: ModelResult | None) -> tuple[SampleGroup, ...]:
    """Return the samples of dense and of the best round (of dense alone when there is none)."""
    shown = [results[0]] + ([best] if best is not None else [])
    columns = [result.details.get("samples", ()) for result in shown]
    return tuple(_group(entries) for entries in zip(*columns, strict=True))


def sample_titles(results: Sequence[ModelResult], *, best: ModelResult | None) -> tuple[str, ...]:
    """Return the titles of the columns."""
    return tuple(result.title for result in (results[0], best) if result is not None)


def writing_rows(results: Sequence[ModelResult], *, controls: Sequence[str], real: Json) -> tuple[WritingRow, ...]:
    """Return one row per distinct model, and one for real texts of the test set."""
    rows = [
        _writing_row(
            result.title,
            result.entry,
            control=tuple(share[label] for label in controls)
            if (share := result.details.get("control", {}).get("per_label"))
            else (),
        )
        for result in results
        if result.accepted
    ]
    if real:
        rows.append(_writing_row("real texts", real, control=()))
    return tuple(rows)


def _writing_row(title: str, entry: Json, *, control: tuple[float, ...]) -> WritingRow:
    distinct = tuple(entry[f"distinct_{size}"] for size in (1, 2, 3))
    return WritingRow(title, distinct, entry["repetition"], entry["copied"], control)


def _group(entries: Sequence[Json]) -> SampleGroup:
    first = entries[0]
    rows = [SampleRow("most probable", tuple(_passage(entry["greedy"], entry["prompt"]) for entry in entries))]
    for texts in zip(*(entry["sampled"] for entry in entries), strict=True):
        passages = tuple(_passage(text, entry["prompt"]) for text, entry in zip(texts, entries, strict=True))
        rows.append(SampleRow("sampled", passages))
    return SampleGroup(label=first["label"] or "", prompt=first["prompt"], rows=tuple(rows))


def _passage(text: Json, prompt: str) -> Passage:
    return Passage(prompt=prompt, written=text["text"][len(prompt) :], finished=text["finished"])
