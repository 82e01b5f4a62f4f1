"""The methods that are compared: ours, Torch-Pruning, and two plain baselines; all retrain alike.

Nothing but the cut differs: rounds, epochs, rows, order of the rows, optimiser, rate and objective are the same.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks import torch_pruning_bert as adapter
from benchmarks.aiming import Aimed, Cut, OutOfReach, aim
from benchmarks.speed import SpeedModel
from benchmarks.subject import Subject
from secateur.budget.goal import density_after
from secateur.config.prune import PruneSettings, Recovery, Round
from secateur.errors import BudgetError
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.models.groups import of_attention, of_ffn
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.group_norms import group_norms
from secateur.pruning.round import overridden, prune_
from secateur.pruning.selection import Calibration, calibrate, calibration_sample
from secateur.pruning.training import DenseModel
from secateur.training.batches import Batch, batches_of
from secateur.training.loop import Plan, train_
from secateur.training.objectives import Distillation, pad_token_id
from secateur.training.validation import validate


@dataclass(frozen=True)
class Task:
    """One run: a method is handed a speed, a seed and a budget of retraining.

    Attributes:
        subject: the dense model and its rows.
        speeds: predicts the speed of a model.
        asked: times faster than dense, after the last round.
        seed: of the calibration sample and of the order of the rows.
        epochs: over all rounds.
        one_shot: cut once instead of in the rounds of the parameters.
        tolerance: relative error of the speed that counts as a hit.
    """

    subject: Subject
    speeds: SpeedModel
    asked: float
    seed: int
    epochs: float
    one_shot: bool
    tolerance: float

    @property
    def settings(self) -> PruneSettings:
        """The ``prune`` section."""
        return self.subject.config.prune

    def rounds(self) -> list[tuple[float, Recovery]]:
        """Return asked speed and recovery of every round; the epochs are shared out as the parameters do it."""
        if self.one_shot:
            return [(self.asked, self.settings.recovery.model_copy(update={"epochs": self.epochs}))]
        rows, labels = len(self.subject.train), int(self.subject.logits.shape[1])
        settled = self.settings.recovery.settled(rows=rows, labels=labels)
        own = [overridden(settled, round_) for round_ in self.subject.config.prune.rounds.values()]
        total = sum(recovery.passes for recovery in own)
        shape = self.settings.schedule.shape
        return [
            (
                1.0 / density_after(number, steps=len(own), final=1.0 / self.asked, shape=shape),
                recovery.model_copy(update={"epochs": recovery.passes * self.epochs / total}),
            )
            for number, recovery in enumerate(own, start=1)
        ]

    def calibration(self, model: PreTrainedModel) -> list[Batch]:
        """Return the calibration rows that every criterion with data sees."""
        rows = calibration_sample(self.subject.train, num_rows=self.settings.calibration_rows, seed=self.seed)
        size = self.settings.recovery.batch_size
        return list(batches_of(rows, batch_size=size, pad_token_id=pad_token_id(model)))


# ---- ours: the one function to change when the product's best settings change ------------------------------------


def ours(task: Task) -> PreTrainedModel:
    """Prune with the shipped settings: the product's own round, aimed at a speed by bisection of its budget."""
    subject, settings = task.subject, task.settings
    model = subject.dense()
    dense_model = DenseModel(
        model=subject.dense(),
        quality=subject.card()["metrics"]["validation_macro_f1"],
        logits=subject.logits,
        table=subject.table,
    )
    precision = subject.config.run.precision

    state = None
    for number, (asked, recovery) in enumerate(task.rounds(), start=1):
        seed = task.seed * 100 + number
        # The sample that prune_ will draw from the same seed.
        rows = calibration_sample(subject.train, num_rows=settings.calibration_rows, seed=seed)
        calibration = Calibration(rows=rows, settings=settings, seed=seed, precision=precision)
        budgets = _Budgets(model, calibration, dense_model)
        aimed = aim(budgets.cut, task.speeds.speed_of, asked=asked, tolerance=task.tolerance, refine=False)
        outcome = prune_(
            model,
            train=subject.train,
            validation=subject.validation,
            dense_model=dense_model,
            target=budgets.target(aimed.shares[0]),
            settings=settings,
            round_=Round(prev="baseline", epochs=recovery.passes, learning_rate=recovery.learning_rate),
            seed=seed,
            precision=precision,
            title=f"ours {task.asked:g}x r{number}",
            state=state,
        )
        model, state = outcome.model, outcome.state
    return model


class _Budgets:
    """A cut for every budget, from one calibration; a share of 1 is the smallest budget that can be met."""

    def __init__(self, model: PreTrainedModel, calibration: Calibration, dense_model: DenseModel) -> None:
        self._model = model
        self._selector = calibrate(model, calibration, dense=dense_model.dense, kept=None)
        self._smallest = 0.01
        while not self._is_reachable():
            self._smallest *= 1.1

    def target(self, share: float) -> float:
        return 1.0 - share * (1.0 - self._smallest)

    def cut(self, share: float, _: float) -> PreTrainedModel:
        candidate = copy.deepcopy(self._model)
        cut_(candidate, self._selector.select_(candidate, target=self.target(share)))
        return candidate

    def _is_reachable(self) -> bool:
        try:
            self._selector.select_(copy.deepcopy(self._model), target=self._smallest)
        except BudgetError:
            return False
        return True


# ---- everybody else -------------------------------------------------------------------------------------------------

Cuts = Callable[[Task, PreTrainedModel], Sequence[Cut]]
"""Returns the ways in which a method may cut a model; the one with the lowest validation loss is trained."""


def compared(cuts: Cuts, fallback: Cuts | None = None) -> Callable[[Task], PreTrainedModel]:
    """Return a method: cut to the speed of the round, retrain, and so on."""

    def run(task: Task) -> PreTrainedModel:
        try:
            return _rounds(task, cuts)
        except OutOfReach:
            if fallback is None:
                raise
            return _rounds(task, fallback)

    return run


def _rounds(task: Task, cuts: Cuts) -> PreTrainedModel:
    subject = task.subject
    model = subject.dense()
    rounds = task.rounds()
    if len(rounds) > 1:
        # Before any training: a speed that cannot be reached from dense cannot be reached at all.
        _best(task, model, cuts, asked=task.asked)
    for number, (asked, recovery) in enumerate(rounds, start=1):
        model = _best(task, model, cuts, asked=asked)
        objective = Distillation(
            teacher_logits=subject.logits,
            weight=recovery.distillation_weight,
            temperature=recovery.temperature,
            label_smoothing=recovery.label_smoothing,
        )
        plan = Plan(
            title=f"{task.asked:g}x r{number}",
            settings=recovery,
            seed=task.seed * 100 + number,
            precision=subject.config.run.precision,
            evaluate_first=True,
        )
        train_(model, train=subject.train, validation=subject.validation, objective=objective, plan=plan)
    return model


def _best(task: Task, model: PreTrainedModel, cuts: Cuts, *, asked: float) -> PreTrainedModel:
    found: list[Aimed] = []
    fastest = 0.0
    for cut in cuts(task, model):
        try:
            found.append(aim(cut, task.speeds.speed_of, asked=asked, tolerance=task.tolerance))
        except OutOfReach as error:
            fastest = max(fastest, error.fastest)
    if not found:
        raise OutOfReach(asked=asked, fastest=fastest)
    if len(found) == 1:
        return found[0].model
    precision = task.subject.config.run.precision

    def loss(aimed: Aimed) -> float:
        return validate(aimed.model, task.subject.validation, batch_size=64, precision=precision).loss

    return min(found, key=loss).model


def _uniform(task: Task, model: PreTrainedModel) -> list[Cut]:
    """The same share of heads and neurons in every layer, the smallest by group L2 norm."""
    layers = family_of(model).layers(model)
    heads = [group_norms(of_attention(layer.attention), "l2") for layer in layers]
    ffn = [group_norms(of_ffn(layer.ffn), "l2") for layer in layers]

    def cut(head_share: float, ffn_share: float) -> PreTrainedModel:
        settings = task.settings
        masks = Masks(
            heads=tuple(_keep_largest(v, share=head_share, multiple=1, least=1) for v in heads),
            ffn=tuple(
                _keep_largest(v, share=ffn_share, multiple=settings.ffn_multiple, least=settings.ffn_multiple)
                for v in ffn
            ),
        )
        return _cut_copy(model, masks)

    return [cut]


def _random(task: Task, model: PreTrainedModel) -> list[Cut]:
    """Heads and blocks of neurons leave in an order drawn once, over all layers, but never the last of a layer."""
    widths = widths_of(model)
    generator = np.random.default_rng(task.seed)
    block = task.settings.ffn_multiple
    heads = [torch.from_numpy(generator.random(count)) for count in widths.heads]
    ffn = [torch.from_numpy(generator.random(-(-count // block))) for count in widths.ffn]

    def cut(head_share: float, ffn_share: float) -> PreTrainedModel:
        masks = Masks(
            heads=tuple(_keep_above(values, head_share) for values in heads),
            ffn=tuple(
                _keep_above(values, ffn_share).repeat_interleave(block)[:count]
                for values, count in zip(ffn, widths.ffn, strict=True)
            ),
        )
        return _cut_copy(model, masks)

    return [cut]


def _torch_pruning(importance: Callable[[], tp.importance.Importance], *, taylor: bool) -> tuple[Cuts, Cuts]:
    """Torch-Pruning on heads and neurons, both rankings; and on the residual stream as well where that is too slow."""

    def gradients(task: Task, model: PreTrainedModel) -> adapter.Gradients | None:
        precision = task.subject.config.run.precision
        return adapter.taylor_gradients(model, task.calibration(model), precision=precision) if taylor else None

    def structures(task: Task, model: PreTrainedModel) -> list[Cut]:
        found = gradients(task, model)

        def by(ranking: adapter.Ranking) -> Cut:
            return lambda heads, ffn: adapter.prune(
                model,
                importance=importance(),
                ranking=ranking,
                heads=heads,
                ffn=ffn,
                ffn_multiple=task.settings.ffn_multiple,
                gradients=found,
            )

        return [by("local"), by("global")]

    def everywhere(task: Task, model: PreTrainedModel) -> list[Cut]:
        found = gradients(task, model)
        return [
            lambda share, ffn: adapter.prune_everywhere(
                model, importance=importance(), share=share, ffn=ffn, gradients=found
            )
        ]

    return structures, everywhere


def _keep_largest(values: Tensor, *, share: float, multiple: int, least: int) -> Tensor:
    count = max(least, round((1.0 - share) * len(values) / multiple) * multiple)
    keep = torch.zeros(len(values), dtype=torch.bool)
    keep[values.argsort(descending=True, stable=True)[:count]] = True
    return keep


def _keep_above(values: Tensor, share: float) -> Tensor:
    keep = values >= share
    keep[values.argmax()] = True
    return keep


def _cut_copy(model: PreTrainedModel, masks: Masks) -> PreTrainedModel:
    candidate = copy.deepcopy(model)
    cut_(candidate, masks)
    return candidate


METHODS: Mapping[str, Callable[[Task], PreTrainedModel]] = {
    "ours": ours,
    "tp-l2": compared(*_torch_pruning(lambda: tp.importance.GroupMagnitudeImportance(p=2), taylor=False)),
    "tp-taylor": compared(*_torch_pruning(tp.importance.GroupTaylorImportance, taylor=True)),
    "uniform": compared(_uniform),
    "random": compared(_random),
}
"""Every method by the name it has in the table."""
