"""``clean``: rows worth learning from, split without leakage, and a report of what was done to them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config.clean import CleanSection
from secateur.config.ingest import IngestSection
from secateur.config.run import KindName
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.workflow.job import Job
from secateur.workflow.stage import Output, Stage, section, value

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def declare(_config: "RunConfig", _root: Path) -> list[Stage]:
    """Read the copied rows; the text rules go with every model, so that it meets new texts as those it learned from."""
    return [
        Stage(
            name="clean",
            inputs={"raw": "data/raw"},
            parameters=(section("ingest"), section("clean"), value("seed", "run.seed"), value("kind", "run.task")),
            outputs={
                "train": Output("data/clean/train.parquet"),
                "validation": Output("data/clean/validation.parquet"),
                "test": Output("data/clean/test.parquet"),
                "labels": Output("data/clean/labels.json"),
                "text_rules": Output("data/clean/text_rules.json"),
                "report": Output("reports/data.json"),
            },
        )
    ]


def run(job: Job, *, ingest: IngestSection, clean: CleanSection, seed: int, kind: KindName = DEFAULT) -> None:
    """Clean the rows and split them.

    The outputs are ``train``, ``validation`` and ``test`` (Parquet: text, label, row; of several labels a list of 0 and
    1 in the order of ``labels``), ``labels``, ``text_rules`` and ``report``.

    Raises:
        DataError: too few rows or labels are left.
    """
    from secateur.data.acquisition import read_copied
    from secateur.data.assembly import given_by
    from secateur.data.cleaning import clean_rows
    from secateur.data.cleaning_remarks import absent, remarks_on
    from secateur.data.data_report import to_json_value
    from secateur.data.document_splitting import split_documents
    from secateur.data.parts import cleaned_given, dropped_of, given_part, num_processes, parted, targets_of
    from secateur.data.provenance import read_provenance
    from secateur.data.rare_labels import without_rare
    from secateur.data.rules import row_rules_of, text_rules_of
    from secateur.data.time_split import remarks_on_time
    from secateur.files import write_json
    from secateur.readers.reading import reading_of

    asked = kind_named(kind)
    reading = reading_of(ingest, asked)
    copied = read_copied(job.inputs["raw"], reading)
    raw, rules = split_documents(copied.rows, at=clean.split), row_rules_of(clean, reading.columns)
    judging = cleaned_given(copied.given, clean, rules)
    cleaned = clean_rows(raw, rules, num_proc=num_processes(), apart_from=tuple(judging.values()))
    labelled = rules.labelled
    rare: tuple[str, ...] = ()
    if labelled and asked.min_labels:
        cleaned, judging, rare = without_rare(cleaned, judging, reading.labels)
    targets = targets_of(
        cleaned, raw, labelled=labelled, kind=asked, num_parts=3 - len(judging), rare=ingest.rare_labels
    )
    given = {
        part: given_part(rows, targets, labelled=labelled, kind=asked, given_by=given_by(part, reading))
        for part, rows in judging.items()
    }
    parts = parted(cleaned, targets, given=given, clean=clean, seed=seed)
    for name, part in parts.of.items():
        part.write(job.outputs[name])
    write_json(job.outputs["labels"], targets.names)
    write_json(job.outputs["text_rules"], asdict(text_rules_of(clean)))
    texts = [text for rows in (cleaned, *judging.values()) for text in rows.texts]
    targets_by_part = {name: part.targets[part.rows] for name, part in parts.of.items()}
    report = to_json_value(
        source=read_provenance(job.inputs["raw"]),
        num_read=raw.num_rows + sum(rows.num_rows for rows in copied.given.values()),
        num_kept=len(texts),
        labels=targets.names,
        parts=targets_by_part,
        effects=[*cleaned.effects, *dropped_of(judging), *parts.capped],
        lengths=[len(text) for text in texts],
        remarks=(
            *remarks_on_time(ingest.time_column, parts.starts, rows=parts.divided, left_out=parts.num_left_out),
            *remarks_on(
                raw,
                cleaned,
                spread=parts.num_spread,
                labelled=labelled,
                also=dropped_of(judging),
                by_time=bool(parts.starts),
            ),
            *rare,
            *absent(targets_by_part, targets.names),
        ),
        starts=parts.starts,
        numbers=asked.tells_numbers and not targets.names,
    )
    write_json(job.outputs["report"], report)
