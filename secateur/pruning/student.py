"""A round without a cut: a static student learns the dense model's answers."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.prune import Recovery, Round
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.static import StaticConfig, StaticForSequenceClassification
from secateur.models.surgery import widths_of
from secateur.pruning.round import Outcome, overridden, recovered_
from secateur.pruning.state import State
from secateur.pruning.training import Work

FEATURES, NEURONS = 192, 256
"""Of a token, and of the hidden layer: 12 000 words and the tokenizer are below 3 MB in int8."""
_SPREAD = 0.3
"""Standard deviation of the features before training."""
_EPOCHS, _LEAST_STEPS, _LEARNING_RATE = 5.0, 460, 4e-3
"""Its steps cost a hundredth of the dense model's."""
_LARGE_BATCH, _MANY_ROWS, _SMALL_BATCH = 256, 8192, 64


def taught_student(model: PreTrainedModel, work: Work, *, round_: Round) -> Outcome:
    """Make a static student of a model's token embeddings, train it, and judge it as every round is judged.

    Args:
        model: the dense one with the vocabulary that the student will have; left as it is.
        work: of the round; its rows hold ids of that vocabulary.
        round_: its own epochs and rate go first.

    Raises:
        ModelError: the model does not classify.
    """
    student = static_student(model, max_tokens=family_of(model).max_tokens(model.config))
    # A product of 256 features gains nothing from bf16.
    recovery = overridden(student_recovery(work.recovery, rows=len(work.train)), round_)
    own = replace(work, recovery=recovery, precision="fp32")
    return recovered_(student, State.dense(widths_of(student)), own)


def static_student(model: PreTrainedModel, *, max_tokens: int) -> StaticForSequenceClassification:
    """Return an untrained student: the principal components of a model's token embeddings, and a new head.

    Args:
        model: a classifier.
        max_tokens: that are read of a text.

    Raises:
        ModelError: the model tells no labels.
    """
    config = model.config
    if not hasattr(model, "num_labels") or not type(model).__name__.endswith("ForSequenceClassification"):
        raise ModelError(f"a static student answers with labels; {type(model).__name__} writes text: leave student out")
    table = principal_features(_token_embeddings(model), FEATURES)
    student = StaticForSequenceClassification(
        StaticConfig(
            vocab_size=len(table),
            hidden_size=table.shape[1],
            intermediate_size=NEURONS,
            max_position_embeddings=max_tokens,
            id2label=config.id2label,
            label2id=config.label2id,
            problem_type=vars(config).get("problem_type"),
            pad_token_id=config.pad_token_id,
            eos_token_id=vars(config).get("eos_token_id"),
            architectures=[StaticForSequenceClassification.__name__],
        )
    )
    student.embeddings.weight.data.copy_(table)
    student.eval()
    return student


def student_recovery(recovery: Recovery, *, rows: int) -> Recovery:
    """Return how a student is trained: as rounds are taught, but in larger and more steps that cost next to nothing."""
    batch = _LARGE_BATCH if rows >= _MANY_ROWS else _SMALL_BATCH
    own: dict[str, Any] = {
        "epochs": _EPOCHS,
        "min_steps": _LEAST_STEPS,
        "learning_rate": _LEARNING_RATE,
        "batch_size": batch,
        "optimizer": "adamw",
        "hidden_weight": 0.0,
        "dropout": None,
        "train_embeddings": True,
        "weight_decay": 0.0,
    }
    return recovery.model_copy(update=own)


def principal_features(table: Tensor, features: int) -> Tensor:
    """Return the first principal components of a table's rows, (V, min(features, E)), at one common scale."""
    centred = table - table.mean(dim=0)
    if features < table.shape[1]:
        # In double precision, so that the signs of the components do not hang on the order of a sum.
        wide = centred.double()
        vectors = torch.linalg.eigh(wide.T @ wide).eigenvectors.flip(1)[:, :features]
        largest = vectors.abs().argmax(dim=0)
        signs = vectors[largest, torch.arange(vectors.shape[1])].sign()
        centred = (wide @ (vectors * signs)).to(table.dtype)
    return centred * (_SPREAD / centred.std().clamp_min(1e-8))


def _token_embeddings(model: PreTrainedModel) -> Tensor:
    weight: Tensor = model.get_input_embeddings().weight
    return weight.detach().float()
