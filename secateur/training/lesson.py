"""What a pruned model may learn from the dense one."""

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.training.hidden_states import HiddenStates
from secateur.training.objectives import Distillation, Objective


@dataclass(frozen=True)
class Lesson:
    """What is taught, and how much each part of it counts.

    Attributes:
        teacher: the dense model.
        logits: of the teacher, of every training row, by position, (rows, C); None where its kind does not keep them.
        weight: share of the distillation, in [0, 1].
        temperature: T, above 0.
        label_smoothing: of the loss on the labels.
        precision: arithmetic of the teacher's matrix products.
        hidden_weight: factor on the mean distance of the hidden states; 0 = off.
        layers: teacher layer for every student layer, as in ``HiddenStates``; empty where it is off.
        features: hidden features of the teacher that the student kept, (E',) int64; None for all.
        token_ids: the teacher's id for every id of the student, (V',) int64; None for the same vocabulary.
        class_weights: of the loss on the labels, see ``LabelLoss``.
    """

    teacher: PreTrainedModel
    logits: Tensor | None
    weight: float
    temperature: float
    label_smoothing: float
    precision: Precision
    hidden_weight: float = 0.0
    layers: tuple[int, ...] = ()
    features: Tensor | None = None
    token_ids: Tensor | None = None
    class_weights: Tensor | None = None


def from_logits(lesson: Lesson) -> Objective:
    """Return the objective of a kind that keeps the dense model's logits: distillation, and hidden states if asked."""
    assert lesson.logits is not None  # such a kind brings them
    taught = Distillation(
        teacher_logits=lesson.logits,
        weight=lesson.weight,
        temperature=lesson.temperature,
        label_smoothing=lesson.label_smoothing,
        class_weights=lesson.class_weights,
    )
    return with_hidden_states(taught, lesson)


def with_hidden_states(base: Objective, lesson: Lesson) -> Objective:
    """Return an objective that compares hidden states beside another one, where the lesson asks for it."""
    if lesson.hidden_weight == 0.0:
        return base
    return HiddenStates(
        base=base,
        teacher=lesson.teacher,
        layers=lesson.layers,
        weight=lesson.hidden_weight,
        precision=lesson.precision,
        features=lesson.features,
        token_ids=lesson.token_ids,
    )
