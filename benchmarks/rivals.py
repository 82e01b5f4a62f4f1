"""What a user could take instead of a pruned model: trained on the rows of a project, tuned on validation."""

import pickle
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from secateur.evaluation.tf_idf import fit
from secateur.formats.onnx import ONNX_MODEL
from secateur.inference.prediction import Predictor
from secateur.models.folders import WEIGHTS
from secateur.statistics.f1 import macro_f1_of_rows

Labels = npt.NDArray[np.int64]

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_FAST_TEXT = tuple(product((0.1, 0.5), (10, 30), ((0, 0), (3, 6))))
"""Learning rates, epochs and lengths of character n-grams; 0 = words alone."""


@dataclass(frozen=True)
class Form:
    """One thing a user could deploy: texts in, label indices out; and the model alone on token ids, if it has any."""

    classify: Callable[[list[str]], list[int]]
    call: Callable[[], object] | None
    num_bytes: int


@final
@dataclass(frozen=True)
class Rows:
    """The cleaned rows of a project: texts and the indices of their labels, by part."""

    train: tuple[list[str], Labels]
    validation: tuple[list[str], Labels]
    test: tuple[list[str], Labels]

    @classmethod
    def read(cls, clean: Path) -> "Rows":
        """Read ``data/clean``."""
        return cls(*(read_rows(clean / f"{part}.parquet") for part in ("train", "validation", "test")))

    @property
    def num_labels(self) -> int:
        """Labels that training rows have, at least two."""
        return max(int(self.train[1].max()) + 1, 2)


def read_rows(table: Path) -> tuple[list[str], Labels]:
    """Return texts and label indices of a cleaned table."""
    columns = pq.read_table(table, columns=["text", "label"])
    return columns.column("text").to_pylist(), columns.column("label").to_numpy()


def transformer(folder: Path) -> Form:
    """Open a checkpoint or an ONNX export."""
    predictor = Predictor.load(folder, num_threads=1)
    index = {label: number for number, label in enumerate(predictor.labels)}
    ids = np.random.default_rng(0).integers(1000, size=(1, 32), dtype=np.int64)
    mask = np.ones_like(ids)
    file = folder / WEIGHTS if (folder / WEIGHTS).is_file() else folder / ONNX_MODEL
    return Form(
        # Batch 1 as deployed: int8 scales its activations over the whole batch.
        classify=lambda texts: [index[found.label] for found in predictor.predict(texts, batch_size=1)],
        call=lambda: predictor.runner(ids, mask),
        num_bytes=file.stat().st_size,
    )


def tf_idf(rows: Rows) -> Form:
    """Train TF-IDF of words and characters with logistic regression, as the product itself does to compare with."""
    texts, labels = rows.validation
    model = fit(
        rows.train[0],
        rows.train[1].tolist(),
        validation=texts,
        validation_labels=labels.tolist(),
        num_labels=rows.num_labels,
    )
    return Form(classify=lambda given: model.predict(given).tolist(), call=None, num_bytes=len(pickle.dumps(model)))


def fast_text(rows: Rows) -> Form:
    """Train fastText (Joulin et al. 2017) with pairs of words; rate, epochs and characters are chosen on validation."""
    import fasttext

    def said(model: Any, texts: Iterable[str]) -> list[int]:
        # Its Python layer asks NumPy for a view that NumPy 2 refuses; the call below is what that layer wraps.
        found = (model.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict") for text in texts)
        return [int(one[0][1].removeprefix("__label__")) if one else 0 for one in found]

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "train.txt"
        lines = (f"__label__{label} {text}".replace("\n", " ") for text, label in zip(*rows.train, strict=True))
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        best: Any = None
        score = -1.0
        for rate, epochs, (shortest, longest) in _FAST_TEXT:
            model = fasttext.train_supervised(
                str(file),
                lr=rate,
                epoch=epochs,
                wordNgrams=2,
                minn=shortest,
                maxn=longest,
                dim=50,
                bucket=200_000,
                thread=1,  # more threads are another model every time
                seed=0,
                verbose=0,
            )
            found = _score(rows, said(model, rows.validation[0]))
            if found > score:
                best, score = model, found
        best.save_model(str(file.with_suffix(".bin")))
        size = file.with_suffix(".bin").stat().st_size
    return Form(classify=lambda texts: said(best, texts), call=None, num_bytes=size)


def model_to_vec(rows: Rows, encoder: Path, kept: Path) -> Form:
    """Distil an encoder to static vectors by model2vec, once per encoder, and put logistic regression on them."""
    from model2vec import StaticModel
    from model2vec.distill import distill
    from sklearn.linear_model import LogisticRegression

    if not kept.is_dir():
        distilled: Any = distill(str(encoder), pca_dims=256)
        distilled.save_pretrained(str(kept))
    vectors = StaticModel.from_pretrained(str(kept))

    def encoded(texts: list[str]) -> npt.NDArray[np.float32]:
        return np.asarray(vectors.encode(texts), dtype=np.float32)

    features, held = encoded(rows.train[0]), encoded(rows.validation[0])
    models = [LogisticRegression(C=strength, max_iter=1000).fit(features, rows.train[1]) for strength in _STRENGTHS]
    best = max(models, key=lambda model: _score(rows, model.predict(held).tolist()))
    size = sum(file.stat().st_size for file in kept.iterdir()) + best.coef_.nbytes
    return Form(classify=lambda texts: best.predict(encoded(texts)).tolist(), call=None, num_bytes=size)


def _score(rows: Rows, said: list[int]) -> float:
    """Return the macro-F1 on validation."""
    return macro_f1_of_rows(rows.validation[1], np.asarray(said), num_labels=rows.num_labels)
