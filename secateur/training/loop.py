"""The one training loop: the dense model, and the recovery of a pruned one."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from secateur.config.baseline import TrainingSection
from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.errors import ModelError
from secateur.models.families import family_of
from secateur.training.batches import Batch, collate, shuffled
from secateur.training.history import HistoryRow
from secateur.training.objectives import Objective, forward, pad_token_id
from secateur.training.progress import progress
from secateur.training.validation import Scores, validate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How long to train, and when to look.

    Attributes:
        title: name of the run in logs and on the bar.
        settings: epochs, rates, batch size.
        seed: of the order of the rows.
        precision: arithmetic of the matrix products.
        evaluations_per_epoch: validation passes per epoch; one more always follows the last step.
        patience: validation passes without a better score after which training ends.
        evaluate_first: score the model before the first step as well.
    """

    title: str
    settings: TrainingSection
    seed: int
    precision: Precision
    evaluations_per_epoch: int = 1
    patience: int = 1_000_000
    evaluate_first: bool = False


@dataclass(frozen=True)
class Trained:
    """What training came to: every validation pass, and the one whose weights were kept."""

    history: tuple[HistoryRow, ...]
    best: Scores


@dataclass
class _Best:
    """The best scores so far, and a copy of their weights."""

    scores: Scores | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    passes_since: int = 0

    def update(self, scores: Scores, model: nn.Module, *, step: int) -> None:
        """Keep the weights when macro-F1 rose; the earlier of two equal ones stays."""
        if self.scores is not None and scores.macro_f1 <= self.scores.macro_f1:
            self.passes_since += 1
            return
        self.scores, self.step, self.passes_since = scores, step, 0
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class _EpochOrder:
    """A batch sampler: all rows once, batches of similar length, another order in every epoch."""

    def __init__(self, rows: TokenRows, *, batch_size: int, seed: int) -> None:
        self._lengths = rows.lengths
        self._generator = np.random.default_rng(seed)
        self.batch_size = batch_size
        self.drop_last = False

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in shuffled(self._lengths, batch_size=self.batch_size, generator=self._generator):
            yield batch.tolist()


def train_(
    model: PreTrainedModel, *, train: TokenRows, validation: TokenRows, objective: Objective, plan: Plan
) -> Trained:
    """Train a model in place; it ends in evaluation mode with the weights of its best validation pass.

    AdamW with linear warm-up and linear decay to 0. Deterministic for a fixed seed, thread count and CPU, given
    ``fix_randomness`` at the entry of the stage (dropout draws from torch's global generator).

    Args:
        model: changed in place.
        train: rows to learn from.
        validation: rows that choose the weights to keep.
        objective: loss of a batch.
        plan: how long, and when to look.

    Raises:
        ModelError: the loss is not finite any more.
    """
    run = _Run(model, train=train, validation=validation, objective=objective, plan=plan)
    try:
        return run.execute()
    finally:
        for parameter in model.parameters():
            parameter.requires_grad_(True)


class _Run:
    """One call of ``train_``: what its steps share."""

    def __init__(
        self, model: PreTrainedModel, *, train: TokenRows, validation: TokenRows, objective: Objective, plan: Plan
    ) -> None:
        self._accelerator = Accelerator()
        self._plan = plan
        self._objective = objective
        self._validation = validation
        if not plan.settings.train_embeddings:
            family_of(model).embeddings(model).requires_grad_(False)
        optimizer = adamw(model, settings=plan.settings)
        loader = _loader(train, plan=plan, pad=pad_token_id(model))
        self._inner = model
        self._model, self._optimizer, self._loader = self._accelerator.prepare(model, optimizer, loader)
        self._steps_per_epoch = len(self._loader)
        self._num_steps = round(plan.settings.epochs * self._steps_per_epoch)
        self._looks = evaluation_steps(self._num_steps, self._steps_per_epoch, plan.evaluations_per_epoch)
        self._history: list[HistoryRow] = []
        self._best = _Best()

    def execute(self) -> Trained:
        if self._num_steps == 0 or self._plan.evaluate_first:
            self._look(step=0, train_loss=None)
        self._train()
        if self._best.step != (self._history[-1].step if self._history else 0):
            self._inner.load_state_dict(self._best.weights)
        self._inner.eval()
        assert self._best.scores is not None  # there is at least one validation pass
        return Trained(history=tuple(self._history), best=self._best.scores)

    def _train(self) -> None:
        losses: list[Tensor] = []
        with progress(self._plan.title, total=self._num_steps) as advance:
            for step, batch in enumerate(self._batches(), start=1):
                losses.append(self._step(batch, step=step))
                note = ""
                if step in self._looks:
                    mean = float(torch.stack(losses).mean())
                    losses.clear()
                    note = f"macro-F1 {self._look(step=step, train_loss=mean).macro_f1:.4f}"
                advance(note)
                if self._best.passes_since >= self._plan.patience:
                    _log.info("%s: no better score in %d passes", self._plan.title, self._best.passes_since)
                    return

    def _batches(self) -> Iterator[Batch]:
        """Yield exactly as many batches as there are steps, epoch after epoch."""
        left = self._num_steps
        while left > 0:
            for batch in self._loader:
                yield batch.to(self._accelerator.device)
                left -= 1
                if left == 0:
                    return

    def _step(self, batch: Batch, *, step: int) -> Tensor:
        settings = self._plan.settings
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self._model.train()
        loss = self._objective(forward(self._model, batch, precision=self._plan.precision), batch)
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(self._model.parameters(), settings.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _learning_rate(self, step: int) -> float:
        settings = self._plan.settings
        return settings.learning_rate * warm_up_and_decay(
            step, num_steps=self._num_steps, warmup_fraction=settings.warmup_fraction
        )

    def _look(self, *, step: int, train_loss: float | None) -> Scores:
        plan = self._plan
        if train_loss is not None and not math.isfinite(train_loss):
            raise ModelError(
                f"{plan.title}: the loss is {train_loss} at step {step} of {self._num_steps}; "
                f"a learning_rate below {plan.settings.learning_rate:g} would work"
            )
        scores = validate(
            self._inner, self._validation, batch_size=2 * plan.settings.batch_size, precision=plan.precision
        )
        self._best.update(scores, self._inner, step=step)
        row = HistoryRow(
            step=step,
            epoch=step / self._steps_per_epoch,
            train_loss=train_loss,
            learning_rate=self._learning_rate(step) if step else 0.0,
            validation_loss=scores.loss,
            validation_accuracy=scores.accuracy,
            validation_macro_f1=scores.macro_f1,
        )
        self._history.append(row)
        _log.info("%s: %s", plan.title, row.summary(num_steps=self._num_steps))
        return scores


def adamw(model: nn.Module, *, settings: TrainingSection) -> torch.optim.AdamW:
    """Build the optimiser; biases and norms are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # One fused kernel instead of one per tensor and operation.
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def warm_up_and_decay(step: int, *, num_steps: int, warmup_fraction: float) -> float:
    """Return the factor on the peak rate at step 1..num_steps: linear to 1, then linear towards 0, never 0."""
    warmup = warmup_fraction * num_steps
    if step <= warmup:
        return step / warmup
    return min(1.0, (num_steps - step + 1) / (num_steps - warmup))


def evaluation_steps(num_steps: int, steps_per_epoch: int, evaluations_per_epoch: int) -> frozenset[int]:
    """Return the steps after which the model is scored; the last step is always one of them."""
    if num_steps == 0:
        return frozenset()
    interval = steps_per_epoch / evaluations_per_epoch
    count = int(num_steps / interval)
    steps = {max(1, round(number * interval)) for number in range(1, count + 1)}
    return frozenset({step for step in steps if step <= num_steps} | {num_steps})


def _loader(rows: TokenRows, *, plan: Plan, pad: int) -> DataLoader[Batch]:
    order = _EpochOrder(rows, batch_size=plan.settings.batch_size, seed=plan.seed)

    def to_batch(index: list[int]) -> Batch:
        return collate(rows, np.asarray(index, dtype=np.int64), pad_token_id=pad)

    return DataLoader(range(len(rows)), batch_sampler=order, collate_fn=to_batch)  # type: ignore[arg-type]
