"""The dense generator and its rounds side by side: perplexity, cost, and what they write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from secateur.budget.cost import Cost
from secateur.config.evaluate import EvaluateSection, GenerationSection
from secateur.data.documents import TextRow
from secateur.evaluation.against_dense import perplexity_change
from secateur.evaluation.compression import StoredSize
from secateur.evaluation.control import Control
from secateur.evaluation.perplexity import DocumentLosses, perplexities
from secateur.evaluation.text_statistics import Variety, copied_share, variety
from secateur.inference.decoding import Sampling
from secateur.inference.writing import Writer, Written


@dataclass(frozen=True)
class Texts:
    """What one model wrote.

    Attributes:
        sampled: ``num_texts`` per prompt and label, prompts in the inner order.
        greedy: one per prompt and label.
        variety: of the sampled ones, over their tokens.
        copied: share of the sampled passages of 20 characters that stand in a training text.
        control: whether a classifier finds in them what was asked for; None without a judge.
    """

    sampled: tuple[Written, ...]
    greedy: tuple[Written, ...]
    variety: Variety
    copied: float
    control: Control | None


@dataclass(frozen=True)
class EvaluatedGenerator:
    """One model on the test texts.

    Attributes:
        cost: what it costs.
        stored: what its weights take as a file.
        folder_bytes: of all files of its checkpoint, which is what is deployed.
        widths: of its layers, as in its card.
        dense_widths: of the dense model.
        losses: of the test texts, with the tokens that the dense model needs for them.
        accepted: whether the round held the quality floor; None for the dense model.
        texts: what it wrote.
    """

    cost: Cost
    stored: StoredSize
    folder_bytes: int
    widths: Mapping[str, Any]
    dense_widths: Mapping[str, Any]
    losses: DocumentLosses
    accepted: bool | None
    texts: Texts


def write_texts(
    writer: Writer, *, settings: GenerationSection, seed: int
) -> tuple[tuple[Written, ...], tuple[Written, ...]]:
    """Let a model write what ``settings`` asks for; return sampled and greedy texts.

    Every model draws the same numbers for the same place, so that texts can be compared one by one.
    """
    drawn = Sampling(settings.max_tokens, settings.temperature, settings.top_p, seed)
    prompts = [prompt for prompt in settings.prompts for _ in range(settings.num_texts)]
    sampled: list[Written] = []
    greedy: list[Written] = []
    for label in writer.controls or (None,):
        sampled += writer.write(prompts, sampling=drawn, label=label)
        greedy += writer.write(settings.prompts, sampling=Sampling(settings.max_tokens), label=label)
    return tuple(sampled), tuple(greedy)


def describe_texts(
    sampled: Sequence[Written], greedy: Sequence[Written], *, training: Sequence[str], control: Control | None
) -> Texts:
    """Measure what was written.

    Args:
        sampled: texts.
        greedy: texts, kept as they are.
        training: the texts that might have been copied.
        control: what a judge said of the sampled ones.
    """
    return Texts(
        sampled=tuple(sampled),
        greedy=tuple(greedy),
        variety=variety([text.tokens[:-1] if text.finished else text.tokens for text in sampled]),
        copied=copied_share([text.text for text in sampled], training),
        control=control,
    )


def metrics_of(
    model: EvaluatedGenerator, *, dense: EvaluatedGenerator, settings: EvaluateSection, seed: int
) -> dict[str, float | int | bool]:
    """Return the entry of one model in metrics.json; no times.

    ``perplexity`` is per token, ``char_perplexity`` per character, ``loss`` in nats per token, each a token of the
    dense model; ``macs`` are those of ``cost_of``. ``sparsity`` is the fraction of the parameters outside the
    embeddings that is gone; of a round, ``perplexity_change`` compares it with the dense model, text by text.
    """
    zeros = model.stored.num_weights - model.stored.num_nonzero
    entry: dict[str, float | int | bool] = {
        "params": model.cost.params,
        "nonembedding_params": model.cost.nonembedding_params,
        "sparsity": 1.0 - (model.cost.nonembedding_params - zeros) / dense.cost.nonembedding_params,
        "macs": model.cost.macs,
        "bytes": model.cost.bytes,
        "compressed_bytes": model.stored.compressed_bytes,
        "deployed_bytes": model.folder_bytes,
        "loss": model.losses.loss,
    }
    found = perplexities(model.losses, samples=settings.bootstrap_samples, level=settings.confidence_level, seed=seed)
    for name, interval in found.items():
        entry |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    entry |= {f"distinct_{size}": value for size, value in enumerate(model.texts.variety.distinct, start=1)}
    entry |= {"repetition": model.texts.variety.repetition, "copied": model.texts.copied}
    if model.texts.control is not None:
        accuracy = model.texts.control.accuracy
        entry |= {
            "control_accuracy": accuracy.value,
            "control_accuracy_low": accuracy.low,
            "control_accuracy_high": accuracy.high,
        }
    if model.accepted is not None:
        entry |= perplexity_change(
            dense=dense.losses.losses,
            pruned=model.losses.losses,
            tokens=dense.losses.tokens,
            settings=settings,
            seed=seed,
        )
        entry["accepted"] = model.accepted
    return entry


def details_of(model: EvaluatedGenerator, *, settings: GenerationSection) -> dict[str, Any]:
    """Return the entry of one model in details.json: widths, samples, and what the judge said per label."""
    control = model.texts.control
    judged = {} if control is None else {"control": {"per_label": dict(control.per_label)}}
    return {
        **judged,
        "widths": dict(model.widths),
        "dense_widths": dict(model.dense_widths),
        "samples": samples_of(model.texts, num_texts=settings.num_texts, num_samples=settings.num_samples),
    }


def real_texts(
    texts: Sequence[str],
    training: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase,
    num_texts: int,
    settings: GenerationSection,
) -> dict[str, float]:
    """Measure test texts as generated ones are, as many and as long at most: what a good generator comes close to."""
    ids = tokenizer(list(texts[:num_texts]), add_special_tokens=False, return_attention_mask=False, verbose=False)[
        "input_ids"
    ]
    cut = [row[: settings.max_tokens] for row in ids]
    found = variety(cut)
    entry = {f"distinct_{size}": value for size, value in enumerate(found.distinct, start=1)}
    copied = copied_share([tokenizer.decode(row) for row in cut], training)
    return {**entry, "repetition": found.repetition, "copied": copied}


def samples_of(texts: Texts, *, num_texts: int, num_samples: int) -> list[dict[str, Any]]:
    """Return per prompt and label: the greedy text and the first sampled ones."""
    samples = []
    for place, greedy in enumerate(texts.greedy):
        shown = texts.sampled[place * num_texts : (place + 1) * num_texts][:num_samples]
        samples.append(
            {
                "label": greedy.label,
                "prompt": greedy.prompt,
                "greedy": _shown(greedy),
                "sampled": [_shown(text) for text in shown],
            }
        )
    return samples


def losses_table(models: Mapping[str, EvaluatedGenerator], *, rows: Sequence[TextRow]) -> pa.Table:
    """Return number in the source, characters, tokens of the dense model, and nats per model."""
    columns: dict[str, Any] = {"row": np.array([row.row for row in rows], dtype=np.int64)}
    dense = next(iter(models.values())).losses
    columns |= {"characters": dense.characters, "tokens": dense.tokens}
    columns |= {name: model.losses.losses for name, model in models.items()}
    return pa.table(columns)


def _shown(text: Written) -> dict[str, Any]:
    return {"text": text.text, "finished": text.finished}
