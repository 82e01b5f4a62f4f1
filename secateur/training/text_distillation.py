"""Distillation of a generator: the dense model says, token by token, what it would have written."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from secateur.training.batches import IGNORED, Batch
from secateur.training.hidden_states import distance
from secateur.training.lesson import Lesson
from secateur.training.objectives import TOKENS_AT_ONCE, Outputs, loss_of, outputs_of


@dataclass(frozen=True)
class TextDistillation:
    """``(1 - weight) * CE + weight * T^2 * KL(teacher_T || student_T) + hidden_weight * mean distance of the layers``.

    Hinton et al. 2015, section 2, at every predicted token, and the hidden states of ``HiddenStates``. The teacher runs
    on every batch, once for both: what it says about all tokens of all rows would be as large as the vocabulary is.

    The teacher is put into evaluation mode; with ``token_ids`` its probabilities are those among the tokens that the
    student has. ``logits`` of the lesson are not read.
    """

    lesson: Lesson

    @property
    def needs_hidden_states(self) -> bool:
        """Whether hidden states are compared."""
        return self.lesson.hidden_weight > 0.0

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the predicted tokens, in nats."""
        hard = loss_of(outputs, batch, label_smoothing=self.lesson.label_smoothing)
        if self.lesson.weight == 0.0 and self.lesson.hidden_weight == 0.0:
            return hard
        teacher = self._teacher_outputs(batch)
        loss = (1.0 - self.lesson.weight) * hard
        if self.lesson.weight > 0.0:
            loss = loss + self.lesson.weight * self._soft(outputs.logits, teacher.logits, batch.labels)
        if self.lesson.hidden_weight > 0.0:
            loss = loss + self.lesson.hidden_weight * self._distance(outputs, teacher, mask=batch.attention_mask)
        return loss

    @torch.no_grad()
    def _teacher_outputs(self, batch: Batch) -> Outputs:
        self.lesson.teacher.eval()
        if self.lesson.token_ids is not None:
            batch = batch.with_ids(self.lesson.token_ids.to(batch.input_ids.device)[batch.input_ids])
        precision = self.lesson.precision
        return outputs_of(self.lesson.teacher, batch, precision=precision, hidden_states=self.needs_hidden_states)

    def _soft(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        flat = (student.flatten(0, 1), teacher.flatten(0, 1), (labels != IGNORED).flatten())
        parts = zip(*(torch.split(tensor, TOKENS_AT_ONCE) for tensor in flat), strict=True)
        total = torch.stack([self._divergence(some, expected, among) for some, expected, among in parts]).sum()
        return self.lesson.temperature**2 * total / flat[-1].sum()

    def _divergence(self, student: Tensor, teacher: Tensor, predicted: Tensor) -> Tensor:
        """Return the sum over those of some tokens that are predicted."""
        if not bool(predicted.all()):
            student, teacher = student[predicted], teacher[predicted]
        if self.lesson.token_ids is not None:
            teacher = teacher.index_select(-1, self.lesson.token_ids.to(teacher.device))
        return kl_div(
            torch.log_softmax(student.float() / self.lesson.temperature, dim=-1),
            torch.log_softmax(teacher.float() / self.lesson.temperature, dim=-1),
            log_target=True,
            reduction="sum",
        )

    def _distance(self, student: Outputs, teacher: Outputs, *, mask: Tensor) -> Tensor:
        expected = teacher.layers()
        if self.lesson.features is not None:
            features = self.lesson.features.to(mask.device)
            expected = tuple(state.index_select(-1, features) for state in expected)
        pairs = zip(student.layers(), self.lesson.layers, strict=True)
        return torch.stack([distance(state, expected[index], mask=mask) for state, index in pairs]).mean()
