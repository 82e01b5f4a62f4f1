"""One suite for whole rounds: whatever is asked for, two rounds end with a model that meets its budget and reloads."""

import copy
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.config.prune import PruneSettings, Round
from secateur.data.tokens import TokenRows, from_lists
from secateur.determinism import fix_randomness
from secateur.errors import BudgetError, ModelError
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_base, load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.pruning.round import Outcome, prune_
from secateur.pruning.state import State
from secateur.pruning.state_files import read_state, write_state
from secateur.pruning.training import DenseModel
from secateur.pruning.vocabulary import shared_vocabulary
from secateur.pruning.weights.matrices import WeightMasks, prunable
from secateur.training.objectives import logits_of
from tests.contract.round_cases import FIRST, OF_STRUCTURES, SECOND, STRUCTURES, WEIGHTS, settings_of
from tests.tiny import sentences, write_bert
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows

TRAIN, VALIDATION = tiny_rows(40), tiny_rows(16, seed=1)


@cache
def dense_model_of(layers: int) -> DenseModel:
    model = tiny_model(layers=layers)
    shape = shape_of(model.config)
    return DenseModel(
        model=model,
        quality=0.5,
        logits=logits_of(model, TRAIN, batch_size=16, precision="fp32"),
        table=LatencyTable(
            attention_ms=(0.0, 0.3, 0.6, 0.8, 1.0),
            ffn_widths=(0, 8, 16, 24),
            ffn_ms=(0.0, 0.5, 1.0, 1.2),
            fixed_ms=0.1,
            dense_ms=0.1 + layers * 2.2,
            settings=prune_settings().latency,
            shape=shape,
            machine={},
        ),
    )


def run(
    model,
    settings,
    *,
    target,
    state=None,
    number=1,
    dense_model=None,
    train: TokenRows = TRAIN,
    validation=VALIDATION,
    **round_: Any,
) -> Outcome:
    fix_randomness(seed=number, num_threads=1)
    return prune_(
        model,
        train=train,
        validation=validation,
        dense_model=dense_model or dense_model_of(2),
        target=target,
        settings=settings,
        round_=Round(prev="baseline", **round_),
        seed=number,
        precision="fp32",
        title=f"round {number}",
        state=state,
    )


def saved_and_loaded(outcome: Outcome, folder: Path, *, tokenizer=None, check_reload: bool = False):
    """Save as the stage does; the model that is loaded again is the same to the last bit, and so is its state."""
    features = outcome.state.features
    card = {"kept": outcome.state.kept.as_dict(), "features": None if features is None else list(features)}
    save(
        outcome.model,
        tokenizer,
        folder,
        card=card,
        check_reload=check_reload,
        beside=lambda path: write_state(path, outcome.state),
    )
    loaded = load(folder)
    expected, found = outcome.model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert widths_of(loaded) == widths_of(outcome.model)
    state = read_state(folder, loaded, card=Card.read(folder))
    assert_same(state, outcome.state)
    return loaded, state


def assert_same(first: State, second: State) -> None:
    assert (first.kept, first.features) == (second.kept, second.features)
    assert (first.suppressed is None) == (second.suppressed is None)
    if first.suppressed is not None and second.suppressed is not None:
        assert vectors(first.suppressed) == vectors(second.suppressed)
    assert (first.weights is None) == (second.weights is None)
    if first.weights is not None and second.weights is not None:
        ours, theirs = first.weights.matrices, second.weights.matrices
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(mask, theirs[name]) for name, mask in ours.items())


def vectors(masks: Masks) -> list[list[bool]]:
    return [mask.tolist() for mask in (*masks.heads, *masks.ffn)]


def check(outcome: Outcome, settings: PruneSettings, *, target: float) -> None:
    kind, model = settings.budget.kind, outcome.model
    widths = widths_of(model)
    assert outcome.accepted, outcome.reason
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
    assert all(math.isfinite(value) for value in outcome.metrics().values())
    assert all(math.isfinite(value) for value in outcome.achieved.values())
    left = 1.0 - outcome.achieved["sparsity"] if kind == "sparsity" else outcome.achieved[kind]
    # Single weights are counted to the nearest one.
    assert left <= target + (1e-9 if outcome.state.weights is None else 1 / outcome.state.weights.num_weights)
    assert tuple(map(len, outcome.state.kept.heads)) == widths.heads
    assert tuple(map(len, outcome.state.kept.ffn)) == widths.ffn
    assert (outcome.history[0].step, outcome.history[0].train_loss) == (0, None)
    assert (outcome.history[-1].step > 0) == (settings.recovery.epochs > 0)
    if settings.num_layers is not None:
        assert widths.num_layers == settings.num_layers == len(outcome.state.kept.layers)
    if settings.hidden_size is not None:
        assert family_of(model).hidden_size(model.config) == settings.hidden_size == len(outcome.state.features or ())


def two_rounds(
    settings: PruneSettings, folder: Path, *, layers: int, first: float, second: float
) -> tuple[Outcome, Outcome]:
    dense_model = dense_model_of(layers)
    before = {name: tensor.clone() for name, tensor in dense_model.model.state_dict().items()}
    r1 = run(copy.deepcopy(dense_model.model), settings, target=first, dense_model=dense_model)
    check(r1, settings, target=first)
    model, state = saved_and_loaded(r1, folder / "r1")
    r2 = run(model, settings, target=second, dense_model=dense_model, state=state, number=2)
    check(r2, settings, target=second)
    saved_and_loaded(r2, folder / "r2")
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense_model.model.state_dict().items())
    return r1, r2


@pytest.mark.parametrize("case", STRUCTURES.values(), ids=STRUCTURES)
def test_rounds_on_structures(case: dict[str, Any], tmp_path: Path) -> None:
    settings, layers = settings_of(case, "structures"), case.get("layers", 2)
    dense = widths_of(dense_model_of(layers).model)
    second = settings.budget.fraction
    r1, r2 = two_rounds(settings, tmp_path, layers=layers, first=(1 + second) / 2, second=second)
    if settings.action == "suppress":
        for outcome in (r1, r2):
            assert widths_of(outcome.model) == dense
            assert outcome.achieved["macs"] == 1.0
            assert outcome.state.suppressed is not None
            assert outcome.achieved["sparsity"] >= 1 - FIRST - 0.2
        removed = run(copy.deepcopy(r2.model), settings, target=second, state=r2.state, number=3, action="remove")
        assert removed.state.suppressed is None
        # What was divided is cut out for good, but for what this round has rescued.
        assert removed.achieved["sparsity"] == pytest.approx(1 - second, abs=0.1)
        assert removed.achieved["macs"] < second + 0.05
        saved_and_loaded(removed, tmp_path / "r3")
        return
    assert r2.state.suppressed is None
    subsets = zip((*r2.state.kept.heads, *r2.state.kept.ffn), (*r1.state.kept.heads, *r1.state.kept.ffn), strict=True)
    if settings.regrow_fraction == 0.0:
        assert all(set(later) <= set(earlier) for later, earlier in subsets)


@pytest.mark.parametrize("case", WEIGHTS.values(), ids=WEIGHTS)
def test_rounds_on_weights(case: dict[str, Any], tmp_path: Path) -> None:
    settings, layers = settings_of(case, "weights"), case.get("layers", 2)
    dense = sum(linear.weight.numel() for linear in prunable(dense_model_of(layers).model).values())
    r1, r2 = two_rounds(settings, tmp_path, layers=layers, first=FIRST, second=SECOND)
    for outcome, target in ((r1, FIRST), (r2, SECOND)):
        masks, linears = outcome.state.weights, prunable(outcome.model)
        assert masks is not None
        # What left with layers and features counts: no more goes than was asked for.
        left = masks.num_weights - masks.num_removed
        assert left == pytest.approx(min(target * dense, masks.num_weights), abs=1)
        gone = {name: linear.weight[~masks.matrices[name]] for name, linear in linears.items()}
        if settings.action == "remove":
            assert all(bool((values == 0).all()) for values in gone.values())
        else:
            assert any(bool((values != 0).any()) for values in gone.values())
    if settings.pattern and r2.state.weights is not None:
        check_pattern(r2.state.weights, settings.pattern)


def check_pattern(masks: WeightMasks, pattern: str) -> None:
    kept, group = map(int, pattern.split(":"))
    for mask in masks.matrices.values():
        assert bool((mask.unflatten(1, (-1, group)).sum(dim=-1) == kept).all())


def test_a_fresh_process_loads_what_a_round_left(tmp_path: Path) -> None:
    settings = settings_of({"criterion": "obs", "num_layers": 1, "hidden_size": 12}, "structures")
    outcome = run(copy.deepcopy(dense_model_of(2).model), settings, target=0.3)
    saved_and_loaded(outcome, tmp_path / "r1", check_reload=True)


@pytest.mark.parametrize("granularity", ["structures", "weights"])
def test_rounds_with_a_smaller_vocabulary(granularity: str, tmp_path: Path) -> None:
    """The token files keep the dense ids; hidden states are compared through both vocabularies."""
    torch.manual_seed(0)
    folder = write_bert(tmp_path / "dense")
    dense, tokenizer = load_base(folder, labels=["no", "yes"]), load_tokenizer(folder)
    texts = sentences(56)
    ids = [tokenizer(text, truncation=True, max_length=16).input_ids for text, _ in texts]
    rows = from_lists(ids, labels=[int(label == "positive") for _, label in texts])
    train, validation = rows.take(range(40)), rows.take(range(40, 56))
    case = {"criterion": "magnitude", "vocabulary_min_count": 4, "recovery.hidden_weight": 1.0, "ffn_multiple": 8}
    settings = settings_of(case, granularity)
    model, state = copy.deepcopy(dense), None
    vocabulary = shared_vocabulary(tokenizer, tokenizer)
    for number, target in ((1, FIRST), (2, SECOND)):
        vocabulary = vocabulary.narrowed_(model, train, min_count=settings.vocabulary_min_count)
        outcome = run(
            model,
            settings,
            target=target,
            state=state,
            number=number,
            train=vocabulary.translate(train, max_length=16),
            validation=vocabulary.translate(validation, max_length=16),
            dense_model=DenseModel(
                model=dense,
                quality=0.5,
                logits=logits_of(dense, train, batch_size=16, precision="fp32"),
                token_ids=vocabulary.dense_ids,
            ),
        )
        check(outcome, settings, target=target)
        model, state = saved_and_loaded(outcome, tmp_path / f"r{number}", tokenizer=vocabulary.tokenizer)
        assert model.config.vocab_size == len(vocabulary.tokenizer) < len(tokenizer)
        vocabulary = shared_vocabulary(tokenizer, load_tokenizer(tmp_path / f"r{number}"))
        assert vocabulary.table is not None


def test_suppressed_structures_are_rescued_or_removed_for_good() -> None:
    """The loop of the source: divide the least important, look again; what is still small at the end goes."""
    settings = settings_of({"criterion": "magnitude", "action": "suppress", "recovery.epochs": 0.0}, "structures")
    dense = dense_model_of(2).model
    first = run(copy.deepcopy(dense), settings, target=FIRST)
    chosen = first.state.suppressed
    assert chosen is not None
    second = run(copy.deepcopy(first.model), settings, target=FIRST, state=first.state, number=2)
    assert second.state.suppressed is not None
    assert vectors(second.state.suppressed) == vectors(chosen)
    assert all(
        torch.equal(tensor, first.model.state_dict()[name]) for name, tensor in second.model.state_dict().items()
    )
    removed = run(second.model, settings, target=FIRST, state=second.state, number=3, action="remove")
    assert widths_of(removed.model) == chosen.widths(4)
    assert removed.state.kept == State.dense(widths_of(dense)).kept.after(chosen)


def test_a_regularizer_trains_before_the_cut() -> None:
    for kind in ("none", "l1", "l2", "group_lasso"):
        case = {"criterion": "magnitude", "regularizer": kind, "recovery.epochs": 0.0, "budget": {"sparsity": 0.0}}
        model = copy.deepcopy(dense_model_of(2).model)
        run(model, settings_of(case, "structures"), target=1.0)
        before = dense_model_of(2).model.state_dict()
        same = all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert same == (kind == "none"), kind


def test_same_seed_same_bits() -> None:
    settings = settings_of({"criterion": "obs", "search_trials": 4, "repair": "least_squares"}, "structures")
    first, again = (run(copy.deepcopy(dense_model_of(2).model), settings, target=SECOND) for _ in range(2))
    found = again.model.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in first.model.state_dict().items())
    assert first.metrics() == again.metrics()


@pytest.mark.parametrize("name", OF_STRUCTURES)
def test_an_impossible_budget_names_the_nearest_one_which_works(name: str) -> None:
    case = {"criterion": name, "min_heads": 1, "min_neurons": 4, "budget": {"macs": 0.1}, "recovery.epochs": 0.0}
    settings = settings_of(case, "structures")
    with pytest.raises(
        BudgetError, match=r"prune\.budget\.macs=0\.1 is not reachable: with structures=heads\+ffn"
    ) as caught:
        run(copy.deepcopy(dense_model_of(2).model), settings, target=0.1)
    nearest = float(str(caught.value).split("ask for ")[1].split()[0])
    assert run(copy.deepcopy(dense_model_of(2).model), settings, target=nearest).achieved["macs"] <= nearest


@pytest.mark.parametrize("name", sorted({*OF_STRUCTURES} - {"random"}))
def test_weights_that_are_not_finite_are_refused(name: str) -> None:
    model = copy.deepcopy(dense_model_of(2).model)
    with torch.no_grad():
        family_of(model).layers(model)[1].ffn.up[0].weight[3, 2] = float("nan")
    with pytest.raises(ModelError, match=r"layers\.1\.ffn|not finite|NaN"):
        run(model, settings_of({"criterion": name}, "structures"), target=SECOND)


def test_a_round_below_the_floor_says_by_how_much() -> None:
    settings = settings_of({"criterion": "magnitude", "max_drop": 0.01}, "structures")
    dense_model = replace(dense_model_of(2), quality=1.1)
    outcome = run(copy.deepcopy(dense_model.model), settings, target=SECOND, dense_model=dense_model)
    assert not outcome.accepted
    assert "is below the floor of 1.0900 (dense 1.1000 less prune.max_drop 0.01)" in str(outcome.reason)
    robust = settings_of({"criterion": "magnitude", "max_robust_drop": 0.1}, "structures")
    scored = replace(dense_model_of(2), robust_score=lambda model: 0.8 if model is dense_model_of(2).model else 0.6)
    outcome = run(copy.deepcopy(dense_model.model), robust, target=SECOND, dense_model=scored)
    assert outcome.metrics()["validation_robust_macro_f1"] == 0.6
    assert "under attack 0.6000 is below the floor of 0.7000 (dense 0.8000" in str(outcome.reason)
