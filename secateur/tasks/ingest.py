"""``ingest``: copy the source and the pretrained model into the workspace, with their provenance."""

from pathlib import Path

from secateur.config.ingest import IngestSection
from secateur.config.run import KindName
from secateur.data.acquisition import HubSelection, check_rows, copy_rows
from secateur.data.pretrained import check_model, copy_model
from secateur.data.provenance import PROVENANCE
from secateur.data.reading import reading_of
from secateur.files import write_json
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.workflow.job import Job


def check_source(ingest: IngestSection, *, root: Path | None = None, kind: KindName = DEFAULT) -> None:
    """Read the source once, before any stage runs; a hub dataset is not looked at, to stay off the network.

    Raises:
        DataError: missing, a folder, empty, undecodable, a column missing, one label only, a label with too few rows.
    """
    check_rows(
        ingest.source,
        reading_of(ingest),
        test_source=ingest.test_source,
        root=root,
        min_labels=kind_named(kind).min_labels,
    )


def check_base(model: str, *, root: Path | None = None) -> None:
    """Check that the pretrained model is there and is safe to load, before any stage runs.

    Raises:
        ModelError: missing, not a model folder, or pickled weights only.
    """
    check_model(model, root=root)


def run(job: Job, *, ingest: IngestSection, model: str, model_revision: str | None, kind: KindName = DEFAULT) -> None:
    """Write the outputs ``raw`` and ``base``; a local source or model is read where the inputs say.

    Raises:
        DataError: the rows cannot be had.
        ModelError: the model cannot be had.
    """
    copy_rows(
        ingest.source,
        reading_of(ingest),
        hub=HubSelection(ingest.hub_config, ingest.hub_split, ingest.hub_revision),
        out=job.outputs["raw"],
        at=[path for name, path in job.inputs.items() if name.startswith("source")],
        test_source=ingest.test_source,
        test_at=[path for name, path in job.inputs.items() if name.startswith("test_source")],
        min_labels=kind_named(kind).min_labels,
    )
    base = job.outputs["base"]
    record = copy_model(model, revision=model_revision, out=base, at=job.inputs.get("model"))
    write_json(base / PROVENANCE, record)
