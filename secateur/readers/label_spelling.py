"""Labels that are one word in several spellings, or no label at all: told by name, and settled when asked."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from secateur.readers.label_sets import NONE, labels_in, renamed
from secateur.readers.labels import SeveralLabels
from secateur.readers.layout import Found
from secateur.readers.numbers import settle_numbers

NULL_WORDS = frozenset(
    {"nan", "-nan", "none", "null", "nil", "n/a", "na", "<na>", "<null>", "\\n", "#n/a", "#na", "#n/a n/a", "nat"}
) | {"-", "--", "?", ".", "n.a.", "k.a.", "k. a.", "keine angabe", "无", "空"}
_LIST = re.compile(r"\[.*\]", re.DOTALL)
_PRINTED = re.compile(r"""[({]\s*(['"]).*\1,?\s*[)}]""", re.DOTALL)
_OF_A_WORD = re.compile(r"O|[BIELMSU]-\S+")
_WHOLE = re.compile(r"(-?\d+)\.0+")
_MAX_NAMED = 8
_DRAWN_ALIKE = str.maketrans("асеорхуіјѕԁһοανικρτυ", "aceopxyijsdhoavikptu")
"""Small Cyrillic and Greek letters -> the Latin ones that look the same: keyboards with two alphabets mix them."""


@dataclass(frozen=True)
class LabelRules:
    """What happens to such labels; see the parameters of the same names under ``ingest``.

    ``sets`` is True where rows have several labels each, of which every one is looked at by itself; ``numbers`` where
    they have a number each.
    """

    null_labels: Literal["keep", "drop"] = "keep"
    lookalike_labels: Literal["keep", "merge"] = "keep"
    rare_labels: Literal["refuse", "drop", "merge"] = "refuse"
    rare_label_rows: int = 3
    sets: bool = False
    numbers: bool = False


def settle_labels(rows: pa.Table, rules: LabelRules, *, column: str) -> Found:
    """Return the rows with their labels settled, and what was found.

    Args:
        rows: with a column ``label`` of strings.
        rules: whether words for nothing become null, and whether spellings become the most frequent one.
        column: name of the label's column, or columns, in the source, for messages.

    Raises:
        SeveralLabels: every label is a list, where rows have one each.
        DataError: a label is no number, where rows have one each.
    """
    counts = _counts(rows)
    if counts and not rules.sets and all(_LIST.fullmatch(label) for label in counts):
        raise SeveralLabels(column)
    remarks: list[str] = []
    if counts and all(map(_PRINTED.fullmatch, counts)):
        remarks.append(
            f"labels such as {min(counts)!r} look like what Python prints of sets: they are taken as they are; written "
            "as lists, they are several labels of a row"
        )
    if "O" in counts and len(counts) > 1 and all(map(_OF_A_WORD.fullmatch, counts)):
        remarks.append(
            f"labels such as {max(counts, key=len)!r} and 'O' are those of words (CoNLL), which are not supported: a "
            "row is taken as a text"
        )
    if missing := rows["label"].null_count:
        remarks.append(f"{missing} of {rows.num_rows} rows have no label in {column!r}, and are left out")
    if none := pc.sum(pc.equal(rows["label"], NONE)).as_py() if rules.sets else 0:
        remarks.append(f"{none} of {rows.num_rows} rows have none of the {len(counts)} labels in {column!r}, and stay")
    names: dict[str, str | None] = {}
    if words := [label for label in counts if label.casefold() in NULL_WORDS]:
        listed = _listed(words, counts)
        if rules.null_labels == "drop":
            names |= dict.fromkeys(words)
            what = "labels that are a word" if rules.sets else "rows whose label is a word"
            remarks.append(f"{what} for none are left out by ingest.null_labels: {listed}")
        elif not rules.numbers:  # of which none is a word
            remarks.append(f"labels that look like a missing value: {listed}; ingest.null_labels=drop leaves them out")
    if rules.numbers:
        found = settle_numbers(_renamed(rows, names, sets=False), column=column)
        return Found(found.rows, (*remarks, *found.remarks))
    if alike := _alike({label: rows for label, rows in counts.items() if label not in names}):
        listed = "; ".join(_listed(spellings, counts, alike=True) for spellings in alike[:_MAX_NAMED])
        if rules.lookalike_labels == "merge":
            names |= {spelling: spellings[0] for spellings in alike for spelling in spellings[1:]}
            remarks.append(f"labels that look alike are one by ingest.lookalike_labels: {listed}")
        else:
            remarks.append(f"labels that look alike: {listed}; ingest.lookalike_labels=merge makes one of each")
    return Found(_renamed(rows, names, sets=rules.sets), tuple(remarks))


def _counts(rows: pa.Table) -> dict[str, int]:
    """Return label -> rows that have it, alone or among others."""
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(rows["label"].drop_null()).to_pylist():
        counts.update(dict.fromkeys(labels_in(entry["values"]), entry["counts"]))
    return counts


def _alike(counts: Mapping[str, int]) -> list[list[str]]:
    """Return the groups of labels that differ in nothing that is seen, the most frequent spelling first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        groups[_seen(label).translate(_DRAWN_ALIKE)].append(label)
    found = [sorted(labels, key=lambda label: (-counts[label], label)) for labels in groups.values() if len(labels) > 1]
    return sorted(found)


def _seen(label: str) -> str:
    """Return what a reader sees of a label: no case, no width, nothing invisible, one space, no fraction of zero."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", label) if unicodedata.category(c) not in ("Cf", "Cc"))
    folded = " ".join(visible.casefold().replace("i\u0307", "i").split())  # of the Turkish capital with a dot
    whole = _WHOLE.fullmatch(folded)
    return whole.group(1) if whole else folded


def _listed(labels: Sequence[str], counts: Mapping[str, int], *, alike: bool = False) -> str:
    """Name labels and their rows; of those that are drawn alike so that the difference shows."""
    composed = {unicodedata.normalize("NFC", label) for label in labels}
    same_look = len(set(map(_seen, labels))) > 1 or len(composed) < len(labels)
    write, joined = (ascii if alike and same_look else _shown), " = " if alike else ", "
    named = [f"{write(label)} ({counts[label]} row{'s' if counts[label] > 1 else ''})" for label in labels]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return joined.join(named[:_MAX_NAMED]) + more


def _shown(label: str) -> str:
    """Write a label so that what is invisible shows."""
    visible = all(unicodedata.category(c) != "Cf" for c in label)
    return repr(label) if visible and label.isprintable() else ascii(label)


def _renamed(rows: pa.Table, names: Mapping[str, str | None], *, sets: bool) -> pa.Table:
    if not names:
        return rows
    encoded = pc.dictionary_encode(rows["label"].combine_chunks())
    distinct = encoded.dictionary.to_pylist()
    labels = pa.array([renamed(label, names, sets=sets) for label in distinct], pa.string())
    return rows.set_column(rows.schema.get_field_index("label"), "label", labels.take(encoded.indices))
