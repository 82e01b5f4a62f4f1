"""``secateur.prune``: a model in memory, with somebody's own batches and loss."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.api.given import copied, ready
from secateur.api.result import Figures, Pruned
from secateur.budget.cost import amount_of
from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.config.one_shot import one_shot_settings
from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.determinism import fixed_randomness
from secateur.errors import BudgetError, ConfigError, ModelError
from secateur.families.linears import convert_
from secateur.families.structures import Kept, Widths
from secateur.models.heads import VECTORS, head_of
from secateur.models.surgery import widths_of
from secateur.pruning.once import Once, check_model, dense_beside, table_for
from secateur.pruning.selection import COST_LENGTH
from secateur.pruning.state import State
from secateur.pruning.training import DenseModel
from secateur.pruning.tries import RoundResult
from secateur.training.batches import ReadyBatches
from secateur.training.objectives import logits_of
from secateur.training.own_batches import Loss
from secateur.training.validation import validate

_VOCABULARY = "batches are token ids already; the command prune, or a project, cuts the vocabulary"
_REFUSED = {
    "budget": "it is an argument",
    "criterion": "it is an argument",
    "recovery.epochs": "it is an argument",
    "max_drop": "nothing is rolled back here, the result says what was lost",
    "max_robust_drop": "no text is attacked here",
    "schedule": "one cut is made here",
    "vocabulary_min_count": _VOCABULARY,
    "vocabulary_max_drop": _VOCABULARY,
    "calibration_rows": "all that is given is looked at",
    "recovery.batch_size": "batches stay as they are given",
    "recovery.label_smoothing": "the loss is the one that is given",
    "recovery.best_by": "the loss decides",
}
"""Settings that are refused, and why."""


def prune(
    model: PreTrainedModel,
    data: Iterable[Any],
    *,
    budget: Mapping[str, Any],
    criterion: str | None = None,
    loss: Loss | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    validation: Iterable[Any] | None = None,
    epochs: float = 0.0,
    settings: Mapping[str, Any] | None = None,
    max_length: int = 128,
    seed: int = 0,
    precision: Precision = "auto",
) -> Pruned:
    """Prune a model in memory, with your own batches and your own loss. The given model is not changed.

    It is the engine of the command ``secateur prune`` and of the rounds of a project. Everything is computed in fp32
    (or bf16 products, ``precision``), whatever type the weights have; what is left has the type that came in. The same
    arguments and the same number of threads give the same bits on the same machine. Random generators, thread count
    and flags of the process are afterwards as they were before.

    Args:
        model: a classifier or causal language model of transformers, of a supported family, dense or pruned before.
            Budgets are fractions of this model.
        data: what the choice rests on. Without a tokenizer a finite iterable of batches: mappings of names to tensors
            with ``input_ids`` (rows, tokens) and ``attention_mask``, ``labels`` as transformers takes them where no
            loss is given, and whatever your loss looks at. They are read once and used as they are. The model is called
            with the entries that its ``forward`` takes (``labels`` only without a loss of your own).
            With a tokenizer rows: ``(text, label)`` or ``{"text": ..., "label": ...}`` (a ``datasets.Dataset`` works),
            labels by name or number, a list of them for ``problem_type="multi_label_classification"``, a number for
            ``"regression"``; the text may be
            a pair of two; for a language model texts, or ``{"text": ...}``.
        budget: one of ``{"macs": 0.5}``, ``{"params": 0.5}``, ``{"latency": 0.5}`` (fractions that stay; of latency by
            ``{"latency": 0.5, "table": secateur.latency_table(model)}``, measured now where no table is given), or
            ``{"sparsity": 0.5}``, the share of the encoder's weights that goes.
        criterion: how structures are scored, as in params.yaml. ``gradient`` and ``fisher`` follow your loss; ``obs``
            keeps the model's own outputs and looks at no label; None takes ``fisher`` with a loss of your own, else
            ``obs``.
        loss: ``loss(output, batch)`` -> scalar tensor, the mean over the rows of a batch; ``output`` is what the model
            returned (``output.logits`` in fp32), ``batch`` the mapping on the model's device. None takes the model's
            own ``output.loss``.
        tokenizer: makes batches of rows; see ``data``.
        validation: batches or rows like ``data`` that judge, and with ``epochs`` choose the best weights; None takes
            ``data``.
        epochs: passes over ``data`` afterwards, with the same loss and distillation from the given model
            (``settings={"recovery.distillation_weight": 0.8}``); 0 trains nothing.
        settings: any other entry of ``prune`` in params.yaml, by its dotted name: ``{"ffn_multiple": 8}``.
        max_length: tokens of a row at the most.
        seed: of every random draw.
        precision: ``auto`` computes products in bf16 where the machine is faster in it; ``fp32``, ``bf16``.

    Returns:
        The model that is left, and what went.

    Raises:
        ModelError: the model, its weights, or what the loss returns cannot be used.
        DataError: the batches or rows do not fit.
        ConfigError: an argument is unknown or out of range.
        BudgetError: the budget is out of reach; the message names the nearest one that is not.
        MeasurementError: a table of latency is needed, and too noisy to decide by.
    """
    chosen = criterion or ("obs" if loss is None else "fisher")
    checked, table = _settings(chosen, budget, epochs=epochs, more=settings or {})
    _check_seed(seed)
    given = copied(model)
    if head_of(given) is VECTORS:
        raise ModelError("an embedding model learns from its own vectors; the command `secateur prune` prunes it")
    dtype, given = given.dtype, given.float()
    check_model(given, checked, name=type(model).__name__)
    _check_table(table, given, checked)
    rows = ready(data, given, loss=loss, tokenizer=tokenizer, max_length=max_length)
    judging = rows
    if validation is not None:
        judging = ready(validation, given, loss=loss, tokenizer=tokenizer, max_length=max_length)
    once = Once(settings=checked, calibration=rows, validation=judging, seed=seed, precision=precision)
    # Whatever the caller is in the middle of: scores need gradients, and the precision is asked for.
    plain = torch.autocast(given.device.type, enabled=False)
    with torch.enable_grad(), plain, fixed_randomness(seed=seed, device=given.device):
        before, widths = _figures(given, judging, precision), widths_of(given)
        dense_model = _dense_model(given, rows, once, table=table, loss=before.loss)
        result = once.run(given, dense_model, state=State.dense(widths))
        left = convert_(result.outcome.model, dtype)
        after = _figures(copy.deepcopy(left).float(), judging, precision)
    return _pruned(left, once, result, widths=widths, before=before, after=after)


def _pruned(
    left: PreTrainedModel, once: Once, result: RoundResult, *, widths: Widths, before: Figures, after: Figures
) -> Pruned:
    """Say what went of a model with these widths, and what is left."""
    outcome = result.outcome
    kept = outcome.state.kept
    return Pruned(
        model=left.eval(),
        before=before,
        after=after,
        achieved={name: value for name, value in outcome.achieved.items() if name != "max_drop"},
        removed_heads=_removed(kept, kept.heads, widths.heads),
        removed_neurons=_removed(kept, kept.ffn, widths.ffn),
        criterion=once.settings.criterion,
        seed=once.seed,
        _card=once.facts(result) | {"metrics": {"dense_loss": before.loss, "loss": after.loss}},
        _state=outcome.state,
    )


def _settings(
    criterion: str, budget: Mapping[str, Any], *, epochs: float, more: Mapping[str, Any]
) -> tuple[PruneSettings, LatencyTable | None]:
    """Return the settings, and the table that the budget brings."""
    if not isinstance(budget, Mapping):
        raise ConfigError(f"budget={budget!r}: expected a mapping, e.g. {{'macs': 0.5}}")
    asked = dict(budget)
    table = asked.pop("table", None)
    if table is not None and (not isinstance(table, LatencyTable) or "latency" not in asked):
        raise ConfigError("budget: a table is one of secateur.latency_table, and goes with latency")
    if "max_drop" in asked:
        raise ConfigError("budget.max_drop: the scale of your own loss is not known; macs, params, latency or sparsity")
    for name in more:
        if why := _REFUSED.get(name) or _REFUSED.get(name.partition(".")[0]):
            raise ConfigError(f"settings: {name} has no place here: {why}")
    changes: dict[str, Any] = {"criterion": criterion, "budget": asked, "recovery.epochs": epochs, "schedule.tries": 1}
    changes |= {"recovery.best_by": "loss"} | dict(more)
    if table is not None:
        changes["latency"] = table.settings.model_dump()
    return one_shot_settings(changes), table


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed={seed!r}: an integer from 0 to {2**32 - 1} would work")


def _check_table(table: LatencyTable | None, model: PreTrainedModel, settings: PruneSettings) -> None:
    if table is None:
        return
    shape = shape_of(model.config, hidden_size=settings.hidden_size)
    if found := table.mismatch(settings.latency, shape):
        raise BudgetError(f"budget: the table {found}; secateur.latency_table(model) measures one that fits")


def _dense_model(
    model: PreTrainedModel, rows: ReadyBatches, once: Once, *, table: LatencyTable | None, loss: float
) -> DenseModel:
    """Return what the round knows of the given model; of a classifier with its logits where it will teach."""
    settings = once.settings
    teaches = (settings.recovery.epochs != 0.0 or settings.trains_before_cut) and not head_of(model).per_token
    return DenseModel(
        model=dense_beside(model, settings),
        quality=loss,
        table=table or table_for(model.config, settings),
        logits=logits_of(model, rows, batch_size=1, precision=once.precision) if teaches else torch.zeros(0),
    )


def _figures(model: PreTrainedModel, rows: ReadyBatches, precision: Precision) -> Figures:
    widths, macs = widths_of(model), amount_of(model, length=COST_LENGTH).macs
    loss = validate(model, rows, batch_size=1, precision=precision).loss
    return Figures(heads=widths.heads, neurons=widths.ffn, macs=macs, params=model.num_parameters(), loss=loss)


def _removed(kept: Kept, units: Sequence[Sequence[int]], widths: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of what went, for every layer of the given model."""
    left = dict(zip(kept.layers, units, strict=True))
    return tuple(tuple(sorted(set(range(width)) - set(left.get(layer, ())))) for layer, width in enumerate(widths))
