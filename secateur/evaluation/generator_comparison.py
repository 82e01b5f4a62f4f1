"""Two generators side by side on the test rows of today."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.data.documents import documents_of, read_texts
from secateur.evaluation.findings import Answered
from secateur.evaluation.generator_measurement import losses_of
from secateur.evaluation.perplexity import document_losses
from secateur.gate.condition import JudgedRows
from secateur.inference.writing import Writer
from secateur.statistics.discordant import Discordant, mcnemar
from secateur.statistics.paired import bootstrap_growth

_BATCH_SIZE = 64
_SAMPLES = 1000
_TAIL = 0.025
"""On each side of the interval."""


def compare_generators(
    folders: Mapping[str, Path], rows: JudgedRows, *, num_threads: int, num_examples: int
) -> dict[str, Any]:
    """Return scores, how perplexity grew, and the texts where it changed most; JSON values."""
    writers = {side: Writer.load(folder, num_threads=num_threads) for side, folder in folders.items()}
    found = {side: losses_of(writer, rows, batch_size=_BATCH_SIZE) for side, writer in writers.items()}
    characters = found["a"].characters
    difference = (found["b"].losses - found["a"].losses) / characters
    counts = Discordant(len(characters), lost=int((difference > 0).sum()), won=int((difference < 0).sum()))
    drawn = bootstrap_growth(found["a"].losses, found["b"].losses, characters=characters, samples=_SAMPLES, seed=0)
    per_text = {side: np.exp(losses.losses / characters) for side, losses in found.items()}
    most = np.argsort(-np.abs(difference), kind="stable")[:num_examples]
    return {
        "scores": {
            side: {
                "char_perplexity": float(np.exp(losses.losses.sum() / characters.sum())),
                "perplexity": float(np.exp(losses.loss)),
            }
            for side, losses in found.items()
        },
        "growth": {
            "value": float(np.expm1((found["b"].losses - found["a"].losses).sum() / characters.sum())),
            "low": float(np.quantile(drawn, _TAIL)),
            "high": float(np.quantile(drawn, 1.0 - _TAIL)),
        },
        "changed": counts.lost + counts.won,
        "lost": counts.lost,
        "won": counts.won,
        "p": mcnemar(counts),
        "examples": [
            {
                "text": rows.texts[row],
                "label": rows.names[rows.labels[row]] if rows.names else None,
                "a": float(per_text["a"][row]),
                "b": float(per_text["b"][row]),
            }
            for row in most.tolist()
        ],
    }


def losses_again(folder: Path, *, test: Path, labels: Path) -> Answered:
    """Return a generator's nats per character, of every test text and of all together."""
    rows = read_texts(test, labels=json.loads(labels.read_text(encoding="utf-8")))
    writer = Writer.load(folder)
    documents = documents_of(rows, writer.tokenizer, controls=writer.controls)
    found = document_losses(writer.model, documents, context=writer.context, batch_size=_BATCH_SIZE)
    mean = float(found.losses.sum() / found.characters.sum())
    per_text = (found.losses / found.characters).tolist()
    said = f"{mean:.4f} nats per character on {len(per_text)} test texts"
    return Answered({"char_loss": mean}, "char_loss", per_text, said)
