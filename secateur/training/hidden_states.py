"""Distillation of hidden states: the pruned model thinks like the dense one, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.training.batches import Batch
from secateur.training.objectives import Objective, Outputs, outputs_of


@dataclass(frozen=True)
class HiddenStates:
    """``base + weight * mean over layers of distance(student layer, teacher layer)``.

    The token-wise L2 of ZipLM (Kurtic et al. 2023; no learned map, because the hidden size stays), see ``distance``.
    The teacher runs on the same batch, without dropout and without gradient.

    Attributes:
        base: what else is minimised.
        teacher: the dense model; it is put into evaluation mode.
        layers: teacher layer for every student layer, from 0; ``layer_mapping`` gives them.
        weight: factor on the mean distance, above 0.
        precision: arithmetic of the teacher's matrix products.
        features: hidden features of the teacher that the student kept, (E',) int64; None for all.
        token_ids: the teacher's id for every id of the student, (V',) int64; None for the same vocabulary.
    """

    base: Objective
    teacher: PreTrainedModel
    layers: tuple[int, ...]
    weight: float
    precision: Precision
    features: Tensor | None = None
    token_ids: Tensor | None = None

    needs_hidden_states = True

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the rows.

        Raises:
            ModelError: the student has another number of layers or features than the teacher was matched to.
        """
        student = outputs.layers()
        if len(student) != len(self.layers):
            raise ModelError(
                f"hidden states of {len(student)} layers were matched to {len(self.layers)} layers of the dense model"
            )
        teacher = self._teacher_states(batch)
        mask = batch.attention_mask
        terms = [distance(state, teacher[index], mask=mask) for state, index in zip(student, self.layers, strict=True)]
        return self.base(outputs, batch) + self.weight * torch.stack(terms).mean()

    @torch.no_grad()
    def _teacher_states(self, batch: Batch) -> tuple[Tensor, ...]:
        self.teacher.eval()
        if self.token_ids is not None:
            batch = batch.with_ids(self.token_ids.to(batch.input_ids.device)[batch.input_ids])
        states = outputs_of(self.teacher, batch, precision=self.precision, hidden_states=True).layers()
        if self.features is None:
            return states
        features = self.features.to(batch.input_ids.device)
        return tuple(state.index_select(-1, features) for state in states)


def distance(student: Tensor, teacher: Tensor, *, mask: Tensor) -> Tensor:
    """Return the mean square of the difference over real tokens and features, over the teacher's mean square.

    0 where both agree, 1 for a student of zeros, whatever the scale of the layer.

    Args:
        student: (B, T, E).
        teacher: (B, T, E).
        mask: 1 on tokens, 0 on padding, (B, T).

    Raises:
        ModelError: the hidden sizes differ.
    """
    if student.shape != teacher.shape:
        raise ModelError(
            f"hidden states of {student.shape[-1]} features cannot be compared with {teacher.shape[-1]} of the dense "
            f"model; name the features that were kept, or set hidden_weight to 0"
        )
    expected = teacher.float()
    return ((student.float() - expected).square().sum(-1) * mask).sum() / (expected.square().sum(-1) * mask).sum()


def layer_mapping(kept_layers: Sequence[int], *, num_layers: int) -> tuple[int, ...]:
    """Return the teacher layer whose output every kept layer should give.

    A kept layer takes over the work of the removed ones after it: its output feeds the next kept layer, which knows
    the output of the dense layer before it. The last one feeds the head. Without removed layers it is the same index.

    Args:
        kept_layers: indices in the dense model, rising.
        num_layers: layers of the dense model.
    """
    return tuple(following - 1 for following in (*kept_layers[1:], num_layers))
