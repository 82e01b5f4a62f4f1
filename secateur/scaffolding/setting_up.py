"""``secateur init``: from a file of rows to a project, all of it decided before anything is written."""

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from secateur.config.part import parse_part
from secateur.config.prune import BudgetKind
from secateur.config.schema import RunConfig
from secateur.data.acquisition import check_rows
from secateur.data.assembly import Copied
from secateur.data.parts import cleaned_given
from secateur.data.rules import row_rules_of
from secateur.data.survey import CountTokens, Survey, first_look, survey
from secateur.errors import DataError
from secateur.kinds.registry import DEFAULT, NUMBER, SEVERAL
from secateur.readers.columns import (
    Guess,
    are_told,
    called_parts,
    called_times,
    columns_of,
    guess_columns,
    may_count_time,
)
from secateur.readers.header import header_of
from secateur.readers.label_cells import likely_separator
from secateur.readers.label_sets import SEPARATOR
from secateur.readers.labels import SeveralLabels
from secateur.readers.layout import Columns, Layout
from secateur.readers.numbers import NumbersForLabels, are_amounts, but_for
from secateur.readers.parquet import classes_of
from secateur.readers.plain import is_fasttext
from secateur.readers.reading import Reading, reading_of
from secateur.readers.tables import format_of
from secateur.scaffolding import params_text, recipe
from secateur.scaffolding.first_division import first_division
from secateur.scaffolding.new_project import check_folder, check_outputs, write_project
from secateur.scaffolding.noticed import on_answers, on_grades, on_long_texts, on_several, on_texts
from secateur.scaffolding.origin import Origin, origin_of
from secateur.scaffolding.params_text import Choice
from secateur.scaffolding.starting_model import find_model, look_at_model
from secateur.scaffolding.wish import Wish
from secateur.sources.compression import bare
from secateur.sources.fetching import FETCHED
from secateur.sources.locations import PLAIN_TEXT, Location, expand
from secateur.sources.source_files import PARTS, parameter_of
from secateur.workflow.params import assigned
from secateur.workflow.project import Project

_FORMS = {"lines": "plain text: a row per line", "fasttext": "lines begin with their labels: __label__x"}
_OF_TABLES = frozenset({"header", "delimiter", "quotes", "escapes", "bad_rows"})
"""Parameters of ``ingest`` that only tables of text have."""


@dataclass(frozen=True)
class Plan:
    """A project that can be written.

    Attributes:
        root: its folder.
        config: what params.yaml will say.
        text: of params.yaml.
        chosen: what it says, line by line.
        seen: the rows; None for a hub dataset, which is not here.
        copies: name in the folder -> file that is copied there.
        remarks: what a person should know, one line each.
        fetched: where the rows come from that have an address.
    """

    root: Path
    config: RunConfig
    text: str
    chosen: tuple[Choice, ...]
    seen: Survey | None
    copies: Mapping[str, Path]
    remarks: tuple[str, ...]
    fetched: tuple[Origin, ...] = ()

    @property
    def sources(self) -> list[str]:
        """Files of rows in the folder, when it is written; a package's and a hub's are not."""
        named = [self.config.ingest.source, *self.config.ingest.given.values()]
        return [name for source in named for name in expand(source, root=self.root) if (self.root / name).is_file()]

    def write(self, *, full: bool = False) -> None:
        """Make the project; a full one has flows and stages of its own.

        Raises:
            ProjectError: nothing can be written there, or git is missing.
        """
        write_project(self.root, config=self.config, params=self.text, copies=self.copies, full=full)
        for origin in self.fetched:
            if origin.fetched is not None:  # the first run finds what was looked at
                shutil.copytree(origin.fetched.name, Project(self.root).state / FETCHED, dirs_exist_ok=True)


def reading_for(wish: Wish, location: Location) -> dict[str, Any]:
    """Return what the section ``ingest`` says about reading: the user's values, and plain text by lines."""
    said = {
        name.removeprefix("ingest."): value
        for name, value in wish.given.items()
        if name.startswith("ingest.") and name != "ingest.source"
    }
    path = location.path
    if location.kind == "database":  # what it answered is a file that is here
        for name in ("query", "format"):
            said.pop(name, None)
    if path is not None and bare(path).suffix.lower() in PLAIN_TEXT:
        said.setdefault("format", _form_of(path, wish, said) if path.is_file() else "lines")
    return said


def _form_of(path: Path, wish: Wish, said: Mapping[str, Any]) -> str:
    """Return what a file called ``.txt`` very likely holds: lines of fastText, a table, or lines of text."""
    if is_fasttext(path):
        return "fasttext"
    if _OF_TABLES & set(said):
        return "csv"
    texts, labels = _named_columns(wish, said)
    encoding = {"auto": "utf-8"}.get(asked := str(said.get("encoding", "auto")), asked)
    try:
        names = header_of(path, tabs=True, encoding=encoding, layout=Layout())
    except (DataError, UnicodeError):
        return "lines"
    wanted = {*texts, *labels}
    return "csv" if (wanted <= {*names} if wanted else are_told(names)) else "lines"


def column_names(wish: Wish, origin: Origin, *, inner: bool = False) -> list[str]:
    """Return the names of the columns of a file that is here; ``inner`` as of ``columns_of``.

    Raises:
        DataError: it cannot be read.
    """
    reading = _reading(wish, reading_for(wish, origin.location), texts=("text",), labels=())
    return columns_of(
        origin.location, file_format=reading.file_format, encoding=reading.encoding, layout=reading.layout, inner=inner
    )


def columns(wish: Wish, origin: Origin) -> Guess:
    """Return the columns that are meant.

    Raises:
        DataError: the file cannot be read, or which columns are meant is not plain.
    """
    labelled = wish.kind.needs_labels
    said = reading_for(wish, origin.location)
    texts, labels = _named_columns(wish, said)
    label, more = (labels[0], labels[1:]) if labels else (None, ())
    if origin.location.path is None:
        if not texts or (labelled and label is None):
            raise DataError(f"{origin.name} is on a hub, and is not looked at; name --text-column and --label-column")
        return Guess(texts, label, None, more)
    reading = _reading(wish, said, texts=("text",), labels=())

    def values(name: str) -> Sequence[str | None]:
        alone = replace(reading, columns=Columns(text=name, label=None, confidence=None))
        try:
            found = check_rows(origin.asked, alone)
        except DataError:
            return []  # numbers in JSON or Parquet: no texts
        return [] if found is None else list(found.rows["text"].to_pylist())

    names = column_names(wish, origin)
    if labelled and not labels and said.get("format") == "lines" and len(expand(origin.asked)) == 1:
        raise DataError(
            f"{origin.location.path.name} is plain text, a row per line and no labels; --task generation learns to "
            "write it, {a,b}.txt are rows labelled by their file, and a CSV may hold texts and labels"
        )
    inner = partial(column_names, wish, origin, inner=True)
    found = guess_columns(names, texts=texts, label=label, labelled=labelled, values=values, inner=inner)
    return replace(found, more=more)


def _named_columns(wish: Wish, said: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the texts and of the labels that the user named, by an option or by ``-S``."""

    def named(name: str) -> tuple[str, ...]:
        given = said.get(name)
        return () if given is None else tuple(given) if isinstance(given, list) else (given,)

    return wish.text_columns or named("text_column"), wish.label_columns or named("label_column")


def given_origins(wish: Wish) -> dict[str, Origin]:
    """Return where the rows are that were given to judge, by the name of their part; those of addresses are fetched.

    Raises:
        DataError: as ``origin_of``.
    """
    asked = {part: wish.given.get(parameter_of(part)) for part in PARTS[1:]}
    return {
        part: origin_of(str(source), root=wish.root, here=wish.here, asked_by=parameter_of(part))
        for part, source in asked.items()
        if source
    }


def propose(wish: Wish, *, guess: Guess, origin: Origin, given: Mapping[str, Origin]) -> Plan:
    """Look at the rows and the model, choose the parameters, and refuse what cannot work; nothing is written.

    Rows that are seen to have several labels each are for ``multi_label``, and those with a number ``regression``,
    unless another kind was asked for.

    Args:
        wish: what was asked for.
        guess: the columns.
        origin: where the rows are.
        given: where those are that judge, by the name of their part.

    Raises:
        SecateurError: one line that says what was asked, what was found and what would work.
    """
    check_folder(wish.root)
    try:
        return _proposed(wish, guess=guess, origin=origin, given=given)
    except SeveralLabels as found:
        if wish.kind_name != SEVERAL and (wish.task is not None or "run.task" in wish.given):
            raise
        return _proposed(wish.with_sets(found.separator), guess=guess, origin=origin, given=given)
    except NumbersForLabels:
        return _proposed(wish.with_numbers(), guess=guess, origin=origin, given=given)


def _look_for(wish: Wish, guess: Guess) -> Callable[[pa.Table], None] | None:
    """Return what looks for several labels, or for numbers, in the cells of rows that are read as having one label."""
    if wish.kind_name not in (DEFAULT, SEVERAL) or wish.task == DEFAULT or len(guess.labels) != 1:
        return None
    if wish.sees_sets or "ingest.label_separator" in wish.given or wish.given.get("run.task") == DEFAULT:
        return None

    def look(rows: pa.Table) -> None:
        """Refuse them, so that they are read again."""
        labels = rows["label"].to_pylist()
        if wish.kind_name == DEFAULT and are_amounts(labels):
            raise NumbersForLabels(guess.labels[0])
        if wish.kind_name == DEFAULT and (found := but_for(labels)) is not None:
            word, count = found
            counted = "1 row" if count == 1 else f"{count} rows"
            raise DataError(
                f"label column {guess.labels[0]!r} holds numbers, but for {counted} such as {word!r}; --task "
                f"{NUMBER} learns numbers, where a cell holds one or is empty (-S ingest.null_labels=drop empties nan, "
                f"None, n/a and the like); --task {DEFAULT} takes cells as names"
            )
        if any(SEPARATOR in label for label in labels if label is not None):
            return  # lists, whose labels may hold any sign
        if (separator := likely_separator(labels)) is not None:
            raise SeveralLabels(guess.labels[0], separator)

    return look


def _proposed(wish: Wish, *, guess: Guess, origin: Origin, given: Mapping[str, Origin]) -> Plan:
    said = reading_for(wish, origin.location)
    if _names_classes(wish, origin, guess, form=str(said.get("format", "auto"))):
        said.setdefault("class_names", True)
    reading = _reading(wish, said, texts=guess.texts, labels=guess.labels)
    found, least = None, wish.kind.min_labels
    if origin.location.path is not None:
        found = check_rows(
            origin.asked,
            reading,
            given={part: place.asked for part, place in given.items()},
            min_labels=least,
            look=_look_for(wish, guess),
        )
    raw = found.rows if found else None
    first = first_look(raw, labelled=guess.label is not None) if raw is not None else None
    asked = wish.model or wish.given.get("baseline.model")
    script = first.script if first else None
    model = find_model(asked, root=wish.root, here=wish.here, kind=wish.kind, script=script)
    chosen = [*_named(wish, origin=origin, given=given, guess=guess, said=said, model=model.name)]
    remarks = list(found.remarks) if found else []
    if found is not None and not given:
        remarks += _on_parts(origin, reading, names=guess.names) or _on_time(origin, reading, names=guess.names)
    remarks += on_answers(guess.names)
    if wish.sees_sets:
        between = f" with {wish.separator} between them" if wish.separator else ""
        remarks.append(
            f"the cells of {guess.label!r} hold several labels{between}, so run.task is {SEVERAL}"
            + ("; --task classification takes each cell as one label" if wish.separator else "")
        )
    elif found is not None and wish.task is None and wish.kind_name == DEFAULT and len(guess.labels) == 1:
        remarks += on_several(found.rows["label"].to_pylist())
    if wish.sees_numbers:
        remarks.append(
            f"the labels in {guess.label!r} are numbers, so run.task is {NUMBER}; --task {DEFAULT} takes them as names"
        )
    base, count = look_at_model(model, kind=wish.kind)
    seen = None
    if found is not None and first is not None:
        seen = _survey(found, wish=wish, reading=reading, first_choices=[*recipe.cleaning(first)], count=count)
        chosen += recipe.choices(seen, base=base, kind=wish.kind, first=first)
        remarks += [*on_texts(seen, model.name), *on_grades(seen, wish)]
    else:
        chosen += recipe.unseen(wish.kind, base)
        remarks.append("a hub dataset is not looked at before a run: what depends on its rows has a usual value")
    copies = {name: path for place in (origin, *given.values()) for name, path in place.copies.items()}
    final = _with_given(chosen, wish.given)
    names = {choice.name for choice in final}
    others = [name for name in wish.given if name not in names]
    overrides = [wish.overrides[name] for name in others]
    text, config = assigned(params_text.render(final), overrides)
    check_outputs(wish.root, config)
    if seen is not None and wish.kind.route == "predict":
        remarks += on_long_texts(seen, config)
    if found is not None and seen is not None and not seen.is_estimate:
        division = first_division(found, reading, config, kind=wish.kind)
        if division is not None and wish.kind.route == "predict":
            remarks += division.remarks
            final = division.within(final, asked=wish.given)
            text, config = assigned(params_text.render(final), overrides)
    final += tuple(Choice(name, wish.given[name], _ASKED) for name in others)
    return Plan(wish.root, config, text, final, seen, copies, tuple(remarks), (origin, *given.values()))


def _reading(wish: Wish, said: Mapping[str, Any], *, texts: Sequence[str], labels: Sequence[str]) -> Reading:
    values = {**said, "text_column": [*texts], "label_column": [*labels] or None}
    if wish.separator is not None:
        values["label_separator"] = wish.separator
    reading = reading_of(parse_part(wish.kind_name, {"ingest": values}).ingest, wish.kind)
    return reading if labels else replace(reading, columns=replace(reading.columns, label=None))


def _named(
    wish: Wish, *, origin: Origin, given: Mapping[str, Origin], guess: Guess, said: Mapping[str, Any], model: str
) -> Sequence[Choice]:
    """Return what the user named or what follows from it, rather than from the rows."""
    name = re.sub(r"[/:\s]+", "-", wish.root.name).strip("-") or "project"
    how = f"guessed from {guess.how}" if guess.how else ""
    texts, labels = _named_columns(wish, said)
    label_column = guess.label if len(guess.labels) == 1 else [*guess.labels]
    several = "rows have several labels each" if wish.kind_name == SEVERAL and wish.task is None else ""
    named = guess.texts[0] if len(guess.texts) == 1 else [*guess.texts]
    found = [
        *([Choice("run.task", wish.kind_name, several)] if wish.kind_name != DEFAULT else []),
        *_threads(),
        Choice("ingest.source", origin.name),
        *(Choice(f"ingest.{part}_source", place.name) for part, place in given.items()),
        *([Choice("ingest.format", said["format"], _FORMS.get(said["format"], ""))] if "format" in said else []),
        Choice("ingest.text_column", named, "" if texts else how),
        *([Choice("ingest.label_column", label_column, "" if labels else how)] if guess.labels else []),
        *([Choice("ingest.label_separator", wish.separator, _SEEN)] if wish.separator is not None else []),
        *([Choice("ingest.class_names", said["class_names"], _DECLARED)] if "class_names" in said else []),
        Choice("baseline.model", model),
        *([Choice("baseline.control", True, "a text is told its label")] if _controls(wish, guess) else []),
        Choice("register.model_name", name),
        Choice("report.title", f"Pruning {name}"),
    ]
    return found


def _names_classes(wish: Wish, origin: Origin, guess: Guess, *, form: str) -> bool:
    """Tell whether a file has names for the numbers of its labels."""
    path = origin.location.path
    if path is None or len(guess.labels) != 1 or wish.kind.tells_numbers or not path.is_file():
        return False
    return format_of(path, form) == "parquet" and bool(classes_of(path, guess.labels[0]))


def _controls(wish: Wish, guess: Guess) -> bool:
    return not wish.kind.needs_labels and guess.label is not None


def _threads() -> Sequence[Choice]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Choice("run.num_threads", min(8, cores), "cores of the machine that made this; other counts, other bits")]


def _survey(
    found: Copied, *, wish: Wish, reading: Reading, first_choices: Sequence[Choice], count: CountTokens | None
) -> Survey:
    """Clean by the rules that the project will have."""
    own = {name: value for name, value in wish.given.items() if name.startswith("clean.")}
    known = [*first_choices, *(Choice(name, value) for name, value in own.items())]
    values = params_text.nested(known).get("clean", {})
    config = parse_part(wish.kind_name, {"clean": values})
    rules = row_rules_of(config.clean, reading.columns)
    return survey(
        found.rows,
        rules,
        given=cleaned_given(found.given, config.clean, rules),
        spelling=reading.labels,
        min_labels=wish.kind.min_labels,
        count_tokens=count,
    )


def _with_given(chosen: Sequence[Choice], given: Mapping[str, Any]) -> tuple[Choice, ...]:
    """Let the user's values stand where a rule says something else; paths are named as the project sees them."""
    sized = any(f"prune.budget.{kind}" in given for kind in get_args(BudgetKind))
    found = [_as_floor(choice) if sized and choice.name == _PROMISE else choice for choice in chosen]
    return tuple(
        choice
        if choice.name not in given
        else Choice(choice.name, choice.value if choice.name in _PATHS else given[choice.name], _ASKED)
        for choice in found
    )


def _as_floor(promise: Choice) -> Choice:
    """Turn what a round promises into what it may lose at most: a budget is a size or a quality, never both."""
    return Choice("prune.max_drop", max(0.03, promise.value), promise.reason)


_SEEN = "its parts stand in several cells; --task classification takes cells as they are"
_DECLARED = "the file declares names for the numbers of its labels"
_PROMISE = "prune.budget.max_drop"
_PATHS = ("ingest.source", *(f"ingest.{part}_source" for part in PARTS), "baseline.model")
_ASKED = "as asked"


def _on_parts(origin: Origin, reading: Reading, *, names: Sequence[str]) -> list[str]:
    """Say which column tells train from test, where nothing else was said of the rows' parts."""
    if reading.columns.time is not None or reading.columns.part is not None:
        return []
    for name in called_parts(names):
        found = _read_with(origin, reading, part=name)
        if found is not None and found.given:
            given = " and ".join(f"{rows.num_rows} {part}" for part, rows in found.given.items())
            return [
                f"{name!r} says which rows train and which judge ({given}), and does not count: "
                f"-S ingest.split_column={name} keeps these parts"
            ]
    return []


def _on_time(origin: Origin, reading: Reading, *, names: Sequence[str]) -> list[str]:
    """Say which column could divide the rows by time, where nothing else was said of their parts."""
    if reading.columns.time is not None or reading.columns.part is not None:
        return []
    for name in called_times(names):
        found = _read_with(origin, reading, time=name)
        times = found.rows["time"] if found else None
        if times is None or times.null_count or len(times.unique()) < len(PARTS):
            continue
        if pa.types.is_timestamp(times.type) or may_count_time(name):
            return [
                f"{name!r} says when each row was written: with -S ingest.time_column={name} the latest rows test, and "
                "earlier ones are learned from"
            ]
    return []


def _read_with(origin: Origin, reading: Reading, *, part: str | None = None, time: str | None = None) -> Copied | None:
    """Return the texts with a column for what it may say of them; None where it does not say that."""
    alone = Columns(text=reading.columns.text, label=None, confidence=None, part=part, time=time)
    try:
        return check_rows(origin.asked, replace(reading, columns=alone))
    except DataError:
        return None
