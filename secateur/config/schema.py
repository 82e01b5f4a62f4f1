"""The schema of params.yaml: one frozen section per stage, in stage order."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from secateur.config.addresses import redacted
from secateur.config.base import Section
from secateur.config.baseline import BaselineSection
from secateur.config.clean import CleanSection
from secateur.config.evaluate import EvaluateSection
from secateur.config.ingest import IngestSection
from secateur.config.promote import PromoteSection
from secateur.config.prune import PruneSection
from secateur.config.register import RegisterSection
from secateur.config.report import ReportSection
from secateur.config.retired import without_retired
from secateur.config.retrain import RetrainSection
from secateur.config.run import RunSection
from secateur.config.serve import ServeSection
from secateur.config.suggestion import did_you_mean
from secateur.errors import ConfigError
from secateur.kinds.base import Kind
from secateur.kinds.registry import kind_named


class RunConfig(Section):
    """The whole of params.yaml. A stage is given its own section, never this object."""

    run: Annotated[RunSection, Field(description="what every stage shares")] = RunSection()
    ingest: Annotated[IngestSection, Field(description="where the rows come from")]
    clean: Annotated[CleanSection, Field(description="which rows stay")] = CleanSection()
    baseline: Annotated[BaselineSection, Field(description="the dense model")] = BaselineSection()
    prune: Annotated[PruneSection, Field(description="what is removed")] = PruneSection()
    evaluate: Annotated[EvaluateSection, Field(description="how models are measured")] = EvaluateSection()
    register_: Annotated[RegisterSection, Field(alias="register", description="where models are published")] = (
        RegisterSection()
    )
    report: Annotated[ReportSection, Field(description="the page")] = ReportSection()
    promote: Annotated[PromoteSection, Field(description="the gate to the champion")] = PromoteSection()
    retrain: Annotated[RetrainSection, Field(description="scheduled retraining")] = RetrainSection()
    serve: Annotated[ServeSection, Field(description="a model behind HTTP")] = ServeSection()

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.ingest.time_column is not None and self.clean.split_by == "content":
            raise ValueError("clean.split_by=content and ingest.time_column both say which rows judge; give one")
        return self

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Self:
        kind, asked = kind_named(self.run.task), self.prune.recovery.best_by
        problems = [*_of_labels(self, kind), *kind.problems(self)]
        if self.baseline.class_weights != "none" and not kind.weighs_classes:
            problems.append(f"baseline.class_weights must be none, found {self.baseline.class_weights}")
        if asked not in (kind.measure.name, "loss"):
            problems.append(f"prune.recovery.best_by must be {kind.measure.name} or loss, found {asked}")
        if self.prune.max_drop >= 1.0 and kind.measure.higher_is_better:
            problems.append(
                f"prune.max_drop must be below 1, found {self.prune.max_drop:g}: it is lost {kind.measure.title}"
            )
        problems += _of_long_texts(self, kind)
        students = [name for name, entry in self.prune.rounds.items() if entry.student is not None]
        if students and not kind.predicts_labels:
            problems.append(f"prune.rounds.{students[0]}.student must be null, found static: a student tells labels")
        for problem in problems:
            raise ValueError(f"{problem} (run.task is {self.run.task})")
        return self


def _of_long_texts(config: RunConfig, kind: Kind) -> Iterator[str]:
    """Yield what does not go with the way in which long texts are read."""
    if (asked := config.baseline.long_texts) == "head":
        return
    if kind.route == "generate":
        yield f"baseline.long_texts must be head, found {asked}: writing is learned from whole texts"
    elif len(config.ingest.text_columns) > 1:
        yield f"baseline.long_texts must be head, found {asked}: of a pair the longer text is cut"
    elif asked == "windows" and not kind.reads_windows:
        yield (
            "baseline.long_texts must be head or head_tail, found windows: what is said of windows makes no answer for "
            "their text"
        )


def _of_labels(config: RunConfig, kind: Kind) -> Iterator[str]:
    """Yield what names several labels per row where a kind learns one."""
    if kind.label_sets:
        return
    if len(columns := config.ingest.label_columns) > 1:
        yield f"ingest.label_column must name one column, found {', '.join(columns)}: several are for multi_label"
    if (separator := config.ingest.label_separator) is not None:
        yield f"ingest.label_separator must be null, found {separator}: several labels per row are for multi_label"


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Validate the content of params.yaml; what earlier versions knew and this one does not is named and left out.

    Raises:
        ConfigError: with the first offending key, its value and what would be accepted.
    """
    values = without_retired(values)
    try:
        return RunConfig.model_validate(values if values.get("ingest") else {**values, "ingest": {}})
    except ValidationError as error:
        raise ConfigError(describe(error)) from error


def describe(error: ValidationError, *, of: type[Section] | None = None) -> str:
    """Put one validation error into one line, in the names of params.yaml: an unknown name before all others.

    A name that is spelled wrongly is two errors, and the one that is missing says nothing of it.

    Args:
        error: what pydantic found.
        of: the section that was validated; None = all of params.yaml.
    """
    errors = error.errors()
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    # Of a value that may be one of several things, each that it is not is an error, under the name of that thing.
    others = [entry for entry in errors if _is_alternative(entry, first)]
    names = first["loc"][:-1] if others else first["loc"]
    key = ".".join(str(part) for part in names) or ("params.yaml" if of is None else "")
    if first["type"] == "extra_forbidden":
        return f"{key} is not a known parameter; {did_you_mean(key, of=of)}`secateur doctor --params` lists them"
    if first["type"] == "missing":
        return f"{key} is missing from params.yaml"
    message = ", or ".join([first["msg"], *(entry["msg"].removeprefix("Input should be ") for entry in others)])
    message = message.removeprefix("Value error, ")
    found = first["input"]
    is_named = isinstance(found, str) and repr(found) in message
    is_shown = isinstance(found, str | int | float | bool) and not is_named
    shown = f" (found {found!r})" if is_shown else ""
    said = f"{message[:1].lower()}{message[1:]}{shown}"
    return redacted(f"{key}: {said}" if key else said)


def _is_alternative(entry: Any, first: Any) -> bool:
    """Tell whether two errors are about one value that may be a word instead, which pydantic calls ``literal[...]``."""
    if entry is first or entry["loc"][:-1] != first["loc"][:-1]:
        return False
    return any(str(part).startswith("literal[") for part in (*entry["loc"][-1:], *first["loc"][-1:]))
