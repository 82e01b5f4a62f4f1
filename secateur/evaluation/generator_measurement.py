"""What generators make of the test texts of today, in the form that is deployed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from secateur.config.evaluate import GenerationSection
from secateur.config.promote import PromoteLatencySection
from secateur.config.schema import RunConfig
from secateur.data.documents import Document, TextRow, documents_of
from secateur.errors import ModelError
from secateur.evaluation.control import control_of, require_labels
from secateur.evaluation.deployed import folder_bytes
from secateur.evaluation.generators import write_texts
from secateur.evaluation.perplexity import DocumentLosses, document_losses
from secateur.gate.condition import Condition, JudgedRows
from secateur.gate.generators import GeneratorAnswers, judge_generator
from secateur.inference.latency import time_runners, torch_threads
from secateur.inference.prediction import Predictor
from secateur.inference.runners import StepRunner
from secateur.inference.writing import Writer
from secateur.progress import progress


def judge_generators(
    folders: Mapping[str, Path], rows: JudgedRows, *, config: RunConfig, root: Path
) -> tuple[Condition, ...]:
    """Judge the ``challenger`` against the ``champion``, where there is one.

    Raises:
        ConfigError, ModelError: as ``measure_generators``.
    """
    answers = measure_generators(folders, rows, config=config, root=root)
    return judge_generator(
        np.array([len(text) + 1 for text in rows.texts], np.int64),
        challenger=answers["challenger"],
        champion=answers.get("champion"),
        settings=config.promote,
        seed=config.run.seed,
    )


def measure_generators(
    folders: Mapping[str, Path], rows: JudgedRows, *, config: RunConfig, root: Path
) -> dict[str, GeneratorAnswers]:
    """Let generators that were verified score the texts, write some and be timed.

    Args:
        folders: by any name.
        rows: of today.
        config: section ``promote``; what is written for the judge is ``evaluate.generation``.
        root: where ``evaluate.judge`` is looked for.

    Raises:
        ConfigError: the judge does not know what a generator can be asked for.
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    judge = None if config.evaluate.judge is None else Predictor.load(root / config.evaluate.judge)
    num_threads = config.promote.latency.num_threads
    with torch_threads(num_threads):
        writers = {name: Writer.load(folder, num_threads=num_threads) for name, folder in folders.items()}
        times = _times(writers, config.promote.latency)
        return {
            name: _measure_one(writer, rows, judge=judge, config=config, folder=folders[name], times=times[name])
            for name, writer in writers.items()
        }


def losses_of(writer: Writer, rows: JudgedRows, *, batch_size: int) -> DocumentLosses:
    """Return the losses of a generator on whole texts, each with the control token of its label."""
    documents = _documents(writer, rows)
    return document_losses(writer.model, documents, context=writer.context, batch_size=batch_size)


def _documents(writer: Writer, rows: JudgedRows) -> list[Document]:
    # A label that a generator was not trained with cannot be told to it; it then reads the text without one.
    labels = [rows.names[label] if rows.names else None for label in rows.labels.tolist()]
    texts = [
        TextRow(row=number, text=text, label=label if label in writer.controls else None)
        for number, (text, label) in enumerate(zip(rows.texts, labels, strict=True))
    ]
    return documents_of(texts, writer.tokenizer, controls=writer.controls)


def _measure_one(
    writer: Writer,
    rows: JudgedRows,
    *,
    judge: Predictor | None,
    config: RunConfig,
    folder: Path,
    times: Sequence[float],
) -> GeneratorAnswers:
    found = losses_of(writer, rows, batch_size=config.evaluate.batch_size)
    return GeneratorAnswers(
        losses=found.losses,
        tokens=found.tokens,
        unknown=_unknown_share(writer, rows),
        bytes=folder_bytes(folder),
        latency_ms=times,
        control_accuracy=_control(writer, judge, settings=config.evaluate.generation, seed=config.run.seed),
    )


def _unknown_share(writer: Writer, rows: JudgedRows) -> float:
    unknown = writer.tokenizer.unk_token_id
    tokens = [token for document in _documents(writer, rows) for token in document.predicted]
    # Byte-level tokenizers spell everything; some name the end of a text as their unknown token all the same.
    if unknown is None or unknown == writer.tokenizer.eos_token_id:
        return 0.0
    return tokens.count(unknown) / len(tokens)


def _control(writer: Writer, judge: Predictor | None, *, settings: GenerationSection, seed: int) -> float | None:
    if judge is None:
        return None
    require_labels(judge, list(writer.controls))
    sampled, _ = write_texts(writer, settings=settings, seed=seed)
    return control_of(judge, sampled, level=0.95).accuracy.value


def _times(writers: Mapping[str, Writer], wanted: PromoteLatencySection) -> dict[str, list[float]]:
    """Return the milliseconds of one token with ``promote.latency.length`` tokens before it, by calls in turn."""
    limit = min(writer.context for writer in writers.values())
    if wanted.length > limit:
        raise ModelError(f"promote.latency.length={wanted.length} is more than a model can read ({limit} tokens)")
    vocabulary = min(writer.model.vocab_size for writer in writers.values())
    ids = np.random.default_rng(0).integers(vocabulary, size=(wanted.batch, wanted.length), dtype=np.int64)
    runners = {name: StepRunner(writer.model) for name, writer in writers.items()}
    with progress("time calls", total=wanted.repeats, live=False) as advance:
        return time_runners(
            runners, ids=ids, repeats=wanted.repeats, num_threads=wanted.num_threads, after_round=advance
        )
