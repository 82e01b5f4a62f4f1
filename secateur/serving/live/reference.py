"""What the traffic is compared with: the rows that a version was trained from, as it was built.

Lengths, scripts and known tokens are of the training rows. What the model says, and how many tokens it never met, is
asked of the validation rows: of the rows that it learned by heart a model is surer than of any others.
"""

import base64
import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from secateur.data.learned_rows import LEARNED
from secateur.data.scripts import script_of
from secateur.errors import CheckFailed, ProjectError, SecateurError
from secateur.files import to_json, write_json
from secateur.inference.encoding import Encoder
from secateur.readers.pairs import has_words
from secateur.serving.live.measures import (
    Measure,
    Texts,
    Value,
    answer_measures,
    answer_values,
    text_measures,
    token_ids,
    unseen,
)
from secateur.serving.served import Served
from secateur.workflow.project import Project

NUM_ROWS = 1000
"""Rows that are measured, and validation rows that the model answers before it is served: seconds."""

_NUM_TOKEN_ROWS = 20_000
_SEED = 0
_CACHE = "live_reference.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learned:
    """How the traffic of a version is measured, and what it is compared with.

    Attributes:
        measures: name -> its bins.
        texts: measures texts; None for a model whose texts nobody knows how to prepare.
        counts: measure -> rows per bin; none where there are no rows.
        rows: training rows there are; None likewise.
        missing: why there are none.
    """

    measures: Mapping[str, Measure]
    texts: Texts | None
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rows: int | None = None
    missing: str | None = None


def digest_of(served: Served) -> str:
    """Return the digest of the files of a model: what it says, and how texts are prepared for it."""
    return hashlib.sha256(to_json(served.files).encode()).hexdigest()


def learn(project: Project, served: Served) -> Learned:
    """Measure the rows that a model was trained from, or find out why that cannot be done.

    It asks the model, so nobody else may ask it meanwhile. What was measured once is kept in ``.secateur``.
    """
    key = digest_of(served)
    values = _kept(project, key)
    try:
        if values is None:
            values = {"key": key, **_measured(served, _rows_of(project, served))}
            write_json(project.state / _CACHE, values)
        return _learned(served, values)
    except (SecateurError, OSError, KeyError, ValueError, TypeError) as error:
        named = f"version {served.source.version}" if served.source.version else served.name
        missing = f"the training rows of {named} cannot be had: {' '.join(str(error).split())}"
        _log.warning("the traffic is counted and compared with nothing: %s", missing)
        return _learned(served, {}, missing=missing)


def _learned(served: Served, values: Mapping[str, Any], *, missing: str | None = None) -> Learned:
    encoder = _encoder(served)
    seen = _unpacked(values["seen"]) if values.get("seen") else None
    answers = answer_measures(served.kind, _names(served), values.get("answers", {}))
    texts = text_measures(values.get("lengths", ()), tokens=seen is not None) if encoder is not None else []
    measures = {measure.name: measure for measure in (*answers, *texts)}
    counts: dict[str, list[int]] = {}
    if missing is None:
        counts = {name: measure.count(_values_of(values, name)) for name, measure in measures.items()}
    return Learned(
        measures=measures,
        texts=None if encoder is None else Texts(encoder, seen),
        counts=counts,
        rows=values.get("rows"),
        missing=missing,
    )


def _values_of(values: Mapping[str, Any], name: str) -> Sequence[Value]:
    found = values["answers"][name] if name in values["answers"] else values[name]
    return cast("Sequence[Value]", found)


def _names(served: Served) -> tuple[str, ...]:
    """Return the labels that a model says; none of one that tells numbers which are no grades."""
    return () if served.kind.tells_numbers and "grade" not in served.kind.columns else served.labels


def _encoder(served: Served) -> Encoder | None:
    found = getattr(served.model, "encoder", None)
    return found if isinstance(found, Encoder) else None


def _measured(served: Served, rows: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the values of the rows, of each of which no more is kept than a few numbers and names."""
    training, validation = (rows[name] for name in LEARNED)
    asked = _drawn([text for text in validation if has_words(text)], NUM_ROWS)
    shown = _drawn(training, NUM_ROWS)
    if not asked or not shown:
        raise ProjectError("there is no row among them")
    found: dict[str, Any] = {"rows": len(training), "answers": {}}
    for said in served.model.predict(asked):
        for name, given in answer_values(said, served.kind).items():
            found["answers"].setdefault(name, []).extend(given)
    encoder = _encoder(served)
    if encoder is not None:
        seen = _tokens(encoder, _drawn(training, _NUM_TOKEN_ROWS))
        found["lengths"] = [float(len(text)) for text in encoder.cleaned(shown)]
        found["scripts"] = [script_of([text]) for text in shown]
        found["tokens"] = [float(count) for count in unseen(encoder, asked, seen)]
        found["seen"] = base64.b64encode(np.packbits(seen).tobytes()).decode()
    return found


def _tokens(encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which tokens these texts have, (V,); the unknown one is no token that anything is known of."""
    seen = np.zeros(encoder.vocab_size, np.bool_)
    for _, ids, mask in token_ids(encoder, texts):
        seen[ids[mask == 1]] = True
    unknown = encoder.tokenizer.unk_token_id
    if unknown is not None:
        seen[unknown] = False
    return np.pad(seen, (0, -len(seen) % 8))


def _unpacked(text: str) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8)).astype(np.bool_)


def _drawn(texts: Sequence[str], count: int) -> list[str]:
    if len(texts) <= count:
        return list(texts)
    places = np.sort(np.random.default_rng(_SEED).choice(len(texts), count, replace=False))
    return [texts[place] for place in places.tolist()]


def _rows_of(project: Project, served: Served) -> dict[str, list[str]]:
    """Return the texts of both tables that a model has learned from.

    Raises:
        ProjectError: they are neither in DVC's cache nor in its remote, or nothing says which they are.
        CheckFailed: DVC holds other bytes than the build says.
    """
    source = served.source
    if source.version is None:
        return _beside(source.folder)
    from secateur.registry.lock import outputs_of, stages_of
    from secateur.registry.mlflow_records import Records
    from secateur.registry.mlflow_store import ModelRegistry
    from secateur.workflow.dvc_store import DvcStore

    records = Records(ModelRegistry(project), source.name)
    outputs = outputs_of(stages_of(records.stored_with_build(source.version, "dvc.lock")), "clean")
    if any(name not in outputs for name in LEARNED):
        raise ProjectError("no dvc.lock with its rows was stored with the build")
    store, found = DvcStore(project), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in LEARNED:
            table = Path(folder) / outputs[name]
            if not table.exists():
                store.fetch(outputs[name], table, what=f"{name} of version {source.version}")
            found[name] = _texts_in(table)
    return found


def _beside(model: Path) -> dict[str, list[str]]:
    """Return the rows of the project that a folder lies in."""
    for folder in model.resolve().parents:
        if all((folder / name).is_file() for name in LEARNED):
            return {name: _texts_in(folder / name) for name in LEARNED}
    raise ProjectError("the folder lies in no project that has them")


def _texts_in(table: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        texts: list[str] = pq.read_table(table, columns=["text"]).column("text").to_pylist()
    except (pa.ArrowException, KeyError) as error:
        raise CheckFailed(f"{table.name} is no table of rows: {' '.join(str(error).split())}") from error
    return texts


def _kept(project: Project, key: str) -> dict[str, Any] | None:
    """Return what was measured before; None where it was of other files, or is not to be read."""
    try:
        values = json.loads((project.state / _CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and values.get("key") == key else None
