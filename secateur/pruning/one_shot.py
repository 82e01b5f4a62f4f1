"""Pruning somebody's finished model with a table of rows: no project, and training only when asked for."""

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.budget.cost import cost_of
from secateur.data.text_rules import TextRules
from secateur.data.tokens import TokenRows
from secateur.determinism import fix_randomness
from secateur.errors import CheckFailed
from secateur.families import family_of
from secateur.families.linears import convert_
from secateur.files import replacing
from secateur.inference.at_rest import at_rest, computing_in_fp32
from secateur.inference.device import find_device
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import Card
from secateur.models.checkpoint import kind_of_folder, load, load_tokenizer, max_length_of, save
from secateur.models.folders import card_of
from secateur.models.heads import head_of
from secateur.models.pooling import said_of
from secateur.models.surgery import widths_of
from secateur.pruning.once import Once, can_rest, check_model, dense_beside, table_for
from secateur.pruning.one_shot_rows import Request, Rows, as_served, limit_of, read_rows
from secateur.pruning.state import State
from secateur.pruning.state_files import write_state
from secateur.pruning.training import DenseModel
from secateur.pruning.vocabulary import Vocabulary, shared_vocabulary
from secateur.pruning.vocabulary_check import Judge, VocabularyCut, allowed_drop, choose_cut
from secateur.pruning.weights.mask_files import masks_beside
from secateur.readers.layout import require_texts
from secateur.training.objectives import logits_of
from secateur.training.validation import Scores, validate

_EVALUATION_BATCH = 64


def prune_checkpoint(request: Request, out: Path, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Prune a checkpoint and save what is left; nothing is written before the end.

    A fifth of the rows, copies of a text all together, is held out and only used for the scores that are returned;
    the rest calibrates the criterion and, with epochs, trains.

    Returns:
        ``kind`` (of task), ``dense`` and ``pruned`` (params, macs, and the scores of the kind on the held-out rows),
        ``achieved`` (fractions of dense), ``seconds`` (of choosing and cutting, training included) and ``rows`` (of a
        generator those that calibrate are packed, ``max_length`` tokens each).

    Raises:
        CheckpointError, ModelError: the checkpoint cannot be used.
        DataError: the table cannot be used.
        ConfigError: the device is not there.
        BudgetError: the budget is out of reach; nothing is written.
        CheckFailed: not even the gentlest cut that was tried keeps the promise or the floor; nothing is written.
    """
    device = find_device(request.device, said="--device")
    fix_randomness(seed=request.seed, num_threads=request.num_threads, device=device)
    model, tokenizer, card = _open(request.checkpoint)
    # Small types are for keeping, not for computing: what is left is saved, and scored, in the type that came in.
    dtype, rests = model.dtype, can_rest(model, request.settings)
    model = (at_rest(model) if rests else model.float()).to(device)
    with computing_in_fp32() if rests else nullcontext():
        return _prune(model, tokenizer, card, request, out, dtype=dtype, say=say)


def _prune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    request: Request,
    out: Path,
    *,
    dtype: torch.dtype,
    say: Callable[[str], None],
) -> dict[str, Any]:
    check_model(model, request.settings, name=str(request.checkpoint))
    require_texts(card.num_texts, request.reading.columns.texts, model=str(request.checkpoint))
    kind = kind_named(card.task or DEFAULT)
    request = as_served(request, tokenizer, card, kind)
    rules = TextRules.of(card.text_rules)
    rows = read_rows(request, model, tokenizer, rules=rules, kind=kind, controls=card.control, say=say)
    if kind.follows_dense:
        say(f"{request.checkpoint}: {said_of(request.checkpoint)}")
        rows = rows.told(lambda part: _logits(model, part, request))
    dense = family_of(model).dense_widths(model.config)
    dense_cost, before = cost_of(model), _score(model, rows.held_out, request)
    probed = _probed(model, rows, request)
    told = {} if kind.follows_dense else {before.measure.title: before.quality}  # itself it keeps all
    held = len(np.unique(rows.held_out.rows))
    for title, value in (told | probed).items():
        say(f"dense: {title} {value:.4f} on {held} held-out rows")
    dense_model = _dense_model(model, rows, request, card=card)
    started = time.monotonic()
    vocabulary, cut = _narrowed_(model, tokenizer, rows, request, before=dense_model.quality)
    if cut:
        say(f"vocabulary: {cut.summary()}")
    rows = rows.translated(vocabulary, max_length=limit_of(request, model))
    once = Once(
        settings=request.settings,
        calibration=rows.calibration,
        validation=rows.validation,
        seed=request.seed,
        precision=request.precision,
    )
    dense_model = replace(dense_model, token_ids=vocabulary.dense_ids)
    result = once.run(model, dense_model, state=_state(request, model))
    outcome, seconds = result.outcome, time.monotonic() - started
    if not outcome.accepted:
        tried = "one cut" if len(result.tries) == 1 else f"{len(result.tries)} cuts"
        raise CheckFailed(f"nothing is written: after {tried}, {outcome.reason}; allow more or train longer")
    model = convert_(outcome.model, dtype)
    full = at_rest(model) if can_rest(model, request.settings) else copy.deepcopy(model).float()
    after, probed_after = _score(full, rows.held_out, request), _probed(full, rows, request)
    described = once.facts(result) | {"dense_widths": card.dense_widths or dense.as_dict()}
    described |= _facts(request, card, model=model, scores=after, probed=probed_after)
    with replacing(out) as folder:
        save(
            model.cpu(),
            vocabulary.tokenizer,
            folder,
            card=described,
            beside=lambda path: write_state(path, outcome.state),
        )
    return {
        "kind": card.task,
        "dense": _entry(before, cost=dense_cost) | probed,
        "pruned": _entry(after, cost=cost_of(model)) | probed_after,
        "achieved": outcome.achieved,
        "seconds": round(seconds, 1),
        "rows": {"calibration": len(rows.calibration), "held_out": held},
    }


def _open(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Card]:
    card = card_of(folder)
    model, kind = load(folder, verify=False), kind_of_folder(folder, card)
    # What a generator, or an embedding model, can read is no matter of the rows that it is pruned with.
    limits = {} if kind.needs_labels else {"max_length": max_length_of(folder)}
    return model, load_tokenizer(folder), card.changed(task=kind.name, **limits)


def _state(request: Request, model: PreTrainedModel) -> State:
    """Return what is known of the model; single weights that were zero before stay zero."""
    state = State.dense(widths_of(model))
    if request.settings.granularity == "structures":
        return state
    return replace(state, weights=masks_beside(request.checkpoint, model))


def _dense_model(model: PreTrainedModel, rows: Rows, request: Request, *, card: Card) -> DenseModel:
    settings = request.settings
    trains = settings.recovery.epochs != 0.0 or settings.trains_before_cut
    judges = settings.budget.max_drop is not None and kind_named(rows.validation.kind).judges_by_dense
    return DenseModel(
        model=dense_beside(model, request.settings),
        table=table_for(model.config, request.settings),
        quality=_score(model, rows.validation, request).quality,
        logits=_taught(model, rows.calibration, request) if trains else Tensor(),
        validation_logits=_logits(model, rows.validation, request) if judges else None,
        class_weights=card.parameters.get("baseline.class_weights", "none"),
    )


def _taught(model: PreTrainedModel, rows: TokenRows, request: Request) -> Tensor:
    """Return what the dense model says of rows: of some kinds it is what they hold already, or is asked again."""
    if not kind_named(rows.kind).keeps_logits:
        return Tensor()
    return torch.from_numpy(rows.labels) if kind_named(rows.kind).follows_dense else _logits(model, rows, request)


def _probed(model: PreTrainedModel, rows: Rows, request: Request) -> dict[str, float]:
    """Return what the vectors of a model are good for, where labels were named to tell."""
    if rows.probed is None:
        return {}
    learned, held = (_logits(model, part, request).numpy() for part in (rows.calibration, rows.held_out))
    told = kind_named(rows.held_out.kind).probed((learned, rows.probed[0]), (held, rows.probed[1]))
    return {name: round(value, 6) for name, value in told.items()}


def _logits(model: PreTrainedModel, rows: TokenRows, request: Request) -> Tensor:
    return logits_of(model, rows, batch_size=_EVALUATION_BATCH, precision=request.precision)


def _score(model: PreTrainedModel, rows: TokenRows, request: Request) -> Scores:
    return validate(model, rows, batch_size=_EVALUATION_BATCH, precision=request.precision)


def _narrowed_(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Rows, request: Request, *, before: float
) -> tuple[Vocabulary, VocabularyCut | None]:
    """Take rare tokens out of the model, in place, as far as the validation rows bear it."""
    vocabulary, settings = shared_vocabulary(tokenizer, tokenizer), request.settings
    judge = Judge(
        model=model,
        train=rows.calibration,
        validation=rows.validation,
        max_length=limit_of(request, model),
        before=before,
        measure=kind_named(rows.validation.kind).measure,
        max_drop=allowed_drop(settings.vocabulary_max_drop, promise=settings.budget.max_drop),
        score=lambda tried, tokens: _score(tried, tokens, request).quality,
    )
    cut = choose_cut(vocabulary, judge, asked=settings.vocabulary_min_count)
    return vocabulary.narrowed_(model, rows.calibration, min_count=cut.min_count if cut else 0), cut


def _entry(scores: Scores, *, cost: Any) -> dict[str, float]:
    return {"params": cost.params, "macs": cost.macs} | {name: round(v, 6) for name, v in scores.values.items()}


def _facts(
    request: Request, before: Card, *, model: PreTrainedModel, scores: Scores, probed: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the card says of the table, and of the model that came in."""
    names = head_of(model).labels(model.config)
    control = {"control": dict(before.control)} if before.control else {}
    return {
        "stage": "prune",
        "task": before.task,
        "inputs": {"checkpoint": before.weights_sha256},
        "labels": before.labels or names,
        "max_length": before.max_length or request.max_length,
        "text_rules": before.text_rules,
        **control,
        **({"texts": count} if (count := len(request.reading.columns.texts)) > 1 else {}),
        "metrics": {f"held_out_{name}": value for name, value in (scores.as_dict() | dict(probed)).items()},
    }
