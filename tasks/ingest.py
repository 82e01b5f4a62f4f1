"""``ingest``: copy the source and the pretrained model into the workspace, with their provenance."""

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config.families import check_chosen
from secateur.config.ingest import IngestSection
from secateur.config.run import KindName
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.sources.locations import PACKAGE_PREFIX, expand, is_local
from secateur.workflow.job import Job
from secateur.workflow.stage import CONSTRAINTS, Output, Stage, section, value

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def declare(config: "RunConfig", root: Path) -> list[Stage]:
    """What a package holds is pinned by the constraints, where there are any; a hub id or an address by its copy."""
    sources, model = expand(config.ingest.source, root=root), config.baseline.model.removeprefix("scratch:")
    inputs = {}
    from_package = any(origin.startswith(PACKAGE_PREFIX) for origin in (*sources, model))
    if from_package and (root / CONSTRAINTS).is_file():
        inputs["constraints"] = CONSTRAINTS
    if is_local(sources[0], root=root):
        inputs |= {f"source{number or ''}": source for number, source in enumerate(sources)}
    for part, asked in config.ingest.given.items():
        if is_local(asked, root=root):
            inputs |= {f"{part}_source{number or ''}": source for number, source in enumerate(expand(asked, root=root))}
    if is_local(model, root=root):
        inputs["model"] = model
    return [
        Stage(
            name="ingest",
            inputs=inputs,
            parameters=(
                section("ingest"),
                value("model", "baseline.model"),
                value("model_revision", "baseline.hub_revision"),
                value("family", "baseline.family"),
                value("kind", "run.task"),
            ),
            outputs={"raw": Output("data/raw"), "base": Output("models/base")},
        )
    ]


def run(
    job: Job,
    *,
    ingest: IngestSection,
    model: str,
    model_revision: str | None,
    family: str | None = None,
    kind: KindName = DEFAULT,
) -> None:
    """Write the outputs ``raw`` and ``base``; a local source or model is read where the inputs say.

    Raises:
        DataError: the rows cannot be had.
        ModelError: the model cannot be had, or its family is another package's that nobody chose.
    """
    from secateur.data.acquisition import Copies, HubSelection, copy_rows
    from secateur.data.pretrained import copy_model, model_type_of
    from secateur.data.provenance import PROVENANCE
    from secateur.files import write_json
    from secateur.readers.reading import reading_of
    from secateur.sources.fetching import FETCHED

    asked = kind_named(kind)
    copy_rows(
        ingest.source,
        reading_of(ingest, asked),
        hub=HubSelection(ingest.hub_config, ingest.hub_split, ingest.hub_revision),
        out=job.outputs["raw"],
        at={
            part: [path for name, path in job.inputs.items() if name.startswith(prefix)]
            for part, prefix in (("train", "source"), *((part, f"{part}_source") for part in ingest.given))
        },
        given=ingest.given,
        min_labels=asked.min_labels,
        copies=Copies(job.state / FETCHED if job.state else None, ingest.sha256),
    )
    base = job.outputs["base"]
    record = copy_model(model, revision=model_revision, out=base, at=job.inputs.get("model"))
    check_chosen(model_type_of(base / "config.json"), family=family, model=model)
    write_json(base / PROVENANCE, record)
