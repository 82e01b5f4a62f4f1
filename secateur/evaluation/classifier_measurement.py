"""What classifiers do on the test rows of today, in the form that is deployed."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from secateur.config.promote import PromoteLatencySection, PromoteRobustnessSection
from secateur.config.schema import RunConfig
from secateur.errors import ModelError
from secateur.evaluation.attacks.characters import attack_text
from secateur.evaluation.deployed import folder_bytes
from secateur.evaluation.robust_score import sample_of
from secateur.evaluation.slices import slices_of
from secateur.families import family_of
from secateur.gate.classifiers import judge
from secateur.gate.condition import Answers, Condition, GateRows, IntArray, JudgedRows
from secateur.inference.latency import time_runners, torch_threads
from secateur.inference.prediction import Predictor
from secateur.models.construction import read_config
from secateur.progress import Advance, progress


def judge_classifiers(folders: Mapping[str, Path], rows: JudgedRows, *, config: RunConfig) -> tuple[Condition, ...]:
    """Judge the ``challenger`` against the ``champion``, where there is one.

    Raises:
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    gate_rows = gate_rows_of(rows, config)
    answers = measure(folders, rows, gate_rows=gate_rows, config=config)
    return judge(gate_rows, challenger=answers["challenger"], champion=answers.get("champion"), settings=config.promote)


def gate_rows_of(rows: JudgedRows, config: RunConfig) -> GateRows:
    """Return what models are judged on."""
    wanted, seed = config.promote.robustness, config.run.seed
    sampled = sample_of(len(rows.texts), num_rows=wanted.rows, seed=seed) if wanted.rows else []
    return GateRows(
        labels=rows.labels,
        names=rows.names,
        slices=slices_of(rows.texts),
        attacked_rows=np.asarray(sampled, np.int64),
        seed=seed,
    )


def measure(
    folders: Mapping[str, Path], rows: JudgedRows, *, gate_rows: GateRows, config: RunConfig
) -> dict[str, Answers]:
    """Let models that were verified predict and be timed.

    Args:
        folders: by any name.
        rows: of today.
        gate_rows: made of these rows.
        config: section ``promote``, and the seed.

    Raises:
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    wanted = config.promote
    with torch_threads(wanted.latency.num_threads):
        predictors = {
            name: Predictor.load(folder, num_threads=wanted.latency.num_threads) for name, folder in folders.items()
        }
        attacked = _attacked_texts(rows, gate_rows, settings=wanted.robustness, seed=gate_rows.seed)
        times = times_of(predictors, folders, wanted.latency)
        num_texts = len(rows.texts) + sum(map(len, attacked.values()))
        with progress("judge", total=num_texts * len(predictors)) as advance:
            return {
                name: Answers(
                    predicted=predicted_by(
                        predictor, rows.texts, names=rows.names, advance=partial(advance, f"{name}, test rows")
                    ),
                    bytes=folder_bytes(folders[name]),
                    latency_ms=times[name],
                    attacked={
                        attack: predicted_by(
                            predictor, texts, names=rows.names, advance=partial(advance, f"{name}, attack {attack}")
                        )
                        for attack, texts in attacked.items()
                    },
                )
                for name, predictor in predictors.items()
            }


def predicted_by(
    predictor: Predictor, texts: Sequence[str], *, names: Sequence[str], advance: Advance | None = None
) -> IntArray:
    """Return the index of the predicted label of every text, (texts,); -1 for a label that is not among ``names``.

    Of a model that gives several 0 and 1 for every one of ``names``, (texts, C); others are left out.
    """
    found = predictor.predict(texts, advance=advance)
    if predictor.sets:
        return np.array([[name in one.labels for name in names] for one in found], np.int64)
    index = {name: number for number, name in enumerate(names)}
    return np.array([index.get(one.label, -1) for one in found], np.int64)


def _attacked_texts(
    rows: JudgedRows, gate_rows: GateRows, *, settings: PromoteRobustnessSection, seed: int
) -> dict[str, list[str]]:
    chosen = [rows.texts[index] for index in gate_rows.attacked_rows.tolist()]
    if not chosen:
        return {}
    return {
        attack: [attack_text(text, attack=attack, num_words=settings.words_per_text, seed=seed) for text in chosen]
        for attack in settings.attacks
    }


def times_of(
    predictors: Mapping[str, Predictor], folders: Mapping[str, Path], wanted: PromoteLatencySection
) -> dict[str, list[float]]:
    """Return the milliseconds of every call, in one interleaved run.

    Raises:
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    configs = [read_config(folder) for folder in folders.values()]
    for config in configs:
        limit = family_of(config).max_tokens(config)
        if wanted.length > limit:
            raise ModelError(f"promote.latency.length={wanted.length} is more than a model can read ({limit} tokens)")
    vocabulary = min(config.vocab_size for config in configs)
    ids = np.random.default_rng(0).integers(vocabulary, size=(wanted.batch, wanted.length), dtype=np.int64)
    runners = {name: predictor.runner for name, predictor in predictors.items()}
    with progress("time calls", total=wanted.repeats, live=False) as advance:
        return time_runners(
            runners, ids=ids, repeats=wanted.repeats, num_threads=wanted.num_threads, after_round=advance
        )
