"""``clean``: rows worth learning from, split without leakage, and a report of what was done to them."""

from functools import partial
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
    from secateur.data.cleaning_remarks import absent, remarks_on
    from secateur.data.data_report import to_json_value
    from secateur.data.html_text import remark_on_html
    from secateur.data.parts import dropped_of, num_processes
    from secateur.data.provenance import read_provenance
    from secateur.data.row_texts import sharded
    from secateur.data.rows_in_parts import rows_in_parts
    from secateur.data.rules import text_rules_of
    from secateur.data.shards import work_here
    from secateur.data.time_split import remarks_on_time
    from secateur.files import write_json
    from secateur.readers.reading import reading_of

    asked = kind_named(kind)
    reading = reading_of(ingest, asked)
    work = job.work or partial(work_here, num_proc=num_processes())
    with sharded(clean.shards, work, state=job.state) as sharding:
        found = rows_in_parts(
            read_copied(job.inputs["raw"], reading), reading, clean, kind=asked, seed=seed, sharding=sharding
        )
    parts, dropped, texts = found.parts, dropped_of(found.judging), found.texts
    names, targets = found.targets.names, found.targets_by_part
    for name, part in parts.of.items():
        part.write(job.outputs[name])
    write_json(job.outputs["labels"], names)
    write_json(job.outputs["text_rules"], text_rules_of(clean).as_values())
    report = to_json_value(
        source=read_provenance(job.inputs["raw"]),
        num_read=found.num_read,
        num_kept=len(texts),
        labels=names,
        parts=targets,
        effects=[*found.cleaned.effects, *dropped, *parts.capped],
        lengths=[len(text) for text in texts],
        remarks=(
            *remarks_on_time(ingest.time_column, parts.starts, rows=parts.divided, left_out=parts.num_left_out),
            *remarks_on(
                found.raw,
                found.cleaned,
                spread=parts.num_spread,
                labelled=reading.columns.label is not None,
                also=dropped,
                by_time=bool(parts.starts),
            ),
            *found.remarks,
            *(() if clean.strip_html else remark_on_html(texts)),
            *absent(targets, names),
        ),
        starts=parts.starts,
        numbers=asked.tells_numbers and not names,
    )
    write_json(job.outputs["report"], report)
