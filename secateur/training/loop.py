"""The one training loop: the dense model, and the recovery of a pruned one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.config.training import TrainingSection
from secateur.families import family_of
from secateur.inference.precision import narrow_stream
from secateur.progress import progress
from secateur.training.attention import attention_as_products
from secateur.training.batches import Batch, ReadyBatches, Rows, loader
from secateur.training.best_weights import Best, BestBy, Hope
from secateur.training.data_parallel import DataParallel, data_parallel
from secateur.training.dropout import block_dropout, fast_dropout
from secateur.training.history import Pass
from secateur.training.objectives import Objective, pad_token_id
from secateur.training.optimizer import check_weights, clip_, optimizer_for
from secateur.training.processes import Ranks
from secateur.training.schedule import Length, evaluation_steps, warm_up_and_decay
from secateur.training.standard_head import standard_head
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
        patience: validation passes without a better score after which training ends, once ``min_steps`` are done;
            before that it ends when the loss was no better either for some passes.
        evaluate_first: score the model before the first step as well.
        best_by: the validation score that decides which weights are kept, and when patience counts.
        floor: worst score that was promised: weights that hold it are kept before others; None = no promise.
        dense_logits: of the dense model on the validation rows, for whoever judges by them; None = nobody does.
    """

    title: str
    settings: TrainingSection
    seed: int
    precision: Precision
    evaluations_per_epoch: int = 1
    patience: int = 1_000_000
    evaluate_first: bool = False
    best_by: BestBy = "quality"
    floor: float | None = None
    dense_logits: Tensor | None = None


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        history: every validation pass.
        best: the one whose weights were kept.
        length: how long it was to take.
    """

    history: tuple[Pass, ...]
    best: Scores
    length: Length


class Constraint(Protocol):
    """Holds weights where they may be: a proximal step, zeros that stay zero."""

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Change the weights in place after a step of the optimiser.

        Args:
            learning_rate: of the step.
            progress: share of all steps that are done, in (0, 1].
        """
        ...


def train_(
    model: PreTrainedModel,
    *,
    train: Rows,
    validation: Rows,
    objective: Objective,
    plan: Plan,
    constraint: Constraint | None = None,
) -> Trained:
    """Train a model in place; it ends in evaluation mode with the weights of its best validation pass.

    Linear warm-up and a decay towards 0. Deterministic for a fixed seed, thread count and device, given
    ``fix_randomness`` at the entry of the stage (dropout of attention weights draws from torch's global generator).

    Args:
        model: changed in place, on the device where it is.
        train: rows to learn from.
        validation: rows that choose the weights to keep.
        objective: loss of a batch.
        plan: how long, and when to look.
        constraint: called after every step of the optimiser.

    Raises:
        ModelError: weights, loss or gradients are not finite, or processes that train together have come apart.
    """
    check_weights(model, title=plan.title)
    settings = plan.settings
    units = None if isinstance(train, ReadyBatches) else train.units
    try:
        if not settings.train_embeddings:
            for module in family_of(model).embedding_modules(model):
                module.requires_grad_(False)
        parallel = data_parallel(
            model,
            rows=train,
            batch_size=settings.batch_size,
            objective=objective,
            precision=plan.precision,
            seed=plan.seed,
            prepared=partial(_prepared, plan),
        )
        with (
            attention_as_products(model, plan.precision, rows=train),
            standard_head(model, units),
            parallel as gradients,
        ):
            optimizer = optimizer_for(
                model, settings=settings, num_parts=gradients.num_replicas, parallel_map=gradients.map
            )
            rows = loader(train, batch_size=settings.batch_size, seed=plan.seed, pad_token_id=pad_token_id(model))
            run = _Run(
                model,
                gradients=gradients,
                optimizer=optimizer,
                batches=rows,
                validation=validation,
                plan=plan,
                constraint=constraint,
            )
            trained = run.execute()
        Ranks.now().check_same(model, title=plan.title)
        return trained
    finally:
        for parameter in model.parameters():
            parameter.requires_grad_(True)


@contextmanager
def _prepared(plan: Plan, model: PreTrainedModel, seed: int) -> Iterator[None]:
    """Give a model the dropout of a plan and a narrow stream for a while."""
    with (
        block_dropout(model, plan.settings.dropout, seed=seed),
        fast_dropout(model, seed=seed),
        narrow_stream(model, plan.precision),
    ):
        yield


class _Run:
    """One call of ``train_``: what its steps share."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        gradients: DataParallel,
        optimizer: Optimizer,
        batches: DataLoader[Batch],
        validation: Rows,
        plan: Plan,
        constraint: Constraint | None,
    ) -> None:
        self._model = model
        self._gradients = gradients
        self._optimizer = optimizer
        self._loader = batches
        self._plan = plan
        self._constraint = constraint
        self._validation = validation
        self._steps_per_epoch = len(batches)
        self._length = Length.of(plan.settings, steps_per_epoch=self._steps_per_epoch)
        self._num_steps = self._length.steps
        self._looks = evaluation_steps(self._num_steps, self._steps_per_epoch, plan.evaluations_per_epoch)
        self._history: list[Pass] = []
        self._best = Best(by=plan.best_by, floor=plan.floor)
        self._hope = Hope()

    def execute(self) -> Trained:
        if self._length.is_extended:
            _log.info("%s: %s", self._plan.title, self._length.summary())
        if self._num_steps == 0 or self._plan.evaluate_first:
            self._look(step=0, train_loss=None)
        self._train()
        if self._best.step != self._history[-1].step:
            self._model.load_state_dict(self._best.weights)
        self._model.eval()
        assert self._best.scores is not None  # there is at least one validation pass
        return Trained(history=tuple(self._history), best=self._best.scores, length=self._length)

    def _train(self) -> None:
        losses: list[Tensor] = []
        with progress(self._plan.title, total=self._num_steps) as advance:
            for step, batch in enumerate(self._batches(), start=1):
                losses.append(self._step(batch, step=step))
                note = ""
                if step in self._looks:
                    mean = float(torch.stack(losses).mean())
                    losses.clear()
                    scores = self._look(step=step, train_loss=mean)
                    note = f"{scores.measure.title} {scores.quality:.4f}"
                advance(note)
                if step in self._looks and step < self._num_steps and self._is_over(step):
                    self._length = replace(self._length, ended=step)
                    _log.info("%s: %s", self._plan.title, self._length.summary())
                    return

    def _is_over(self, step: int) -> bool:
        """Tell whether the steps that are left will bring nothing.

        Patience counts epochs, and of few rows an epoch is over before anything is learned: it waits for the floor. But
        few rows are known by heart long before, and then the loss gets worse as well.
        """
        if self._best.passes_since >= self._plan.patience and step >= self._length.min_steps:
            return True
        warm = step >= 2 * self._plan.settings.warmup_fraction * self._num_steps
        return self._length.is_extended and warm and self._hope.is_lost

    def _batches(self) -> Iterator[Batch]:
        """Yield exactly as many batches as there are steps, epoch after epoch."""
        left = self._num_steps
        while left > 0:
            for batch in self._loader:
                yield batch.to(self._model.device)
                left -= 1
                if left == 0:
                    return

    def _step(self, batch: Batch, *, step: int) -> Tensor:
        plan, rate = self._plan, self._learning_rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._gradients.train()
        loss = self._gradients.backward(batch)
        where = f"{plan.title}: step {step} of {self._num_steps}"
        clip_(self._model, loss=loss, settings=plan.settings, where=where)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._constraint is not None:
            self._constraint.after_step_(learning_rate=rate, progress=step / self._num_steps)
        return loss

    def _learning_rate(self, step: int) -> float:
        settings = self._plan.settings
        return settings.learning_rate * warm_up_and_decay(
            step, num_steps=self._num_steps, warmup_fraction=settings.warmup_fraction, decay=settings.decay
        )

    def _look(self, *, step: int, train_loss: float | None) -> Scores:
        plan = self._plan
        scores = validate(
            self._model,
            self._validation,
            batch_size=2 * plan.settings.batch_size,
            precision=plan.precision,
            dense_logits=plan.dense_logits,
        )
        self._best.update(scores, self._model, step=step, last=step == self._num_steps)
        self._hope.update(scores)
        row = Pass(
            step=step,
            epoch=step / self._steps_per_epoch,
            train_loss=train_loss,
            learning_rate=self._learning_rate(step) if step else 0.0,
            scores=scores,
        )
        self._history.append(row)
        _log.info("%s: %s", plan.title, row.summary(num_steps=self._num_steps))
        return scores
