import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.budget.scores import Scores
from secateur.errors import ConfigError
from secateur.families.structures import Kept, Masks, Widths
from secateur.pruning.multipliers import apply_multipliers, check_multipliers

WIDTHS = Widths(heads=(2, 2), ffn=(4, 4), head_dim=4)
SCORES = Scores(
    heads=(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0])),
    ffn=(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([5.0, 6.0, 7.0, 0.1])),
)


def flat(scores: Scores) -> list[float]:
    return torch.cat([*scores.heads, *scores.ffn]).tolist()


def test_names_reach_what_they_say():
    found = apply_multipliers(
        SCORES, {"layers.*.heads.1": 10.0, "layers.1.ffn": 2.0, "layers.0.ffn.*": 3.0, "layers.0.ffn.2": 0.0}, kept=None
    )
    assert [values.tolist() for values in found.heads] == [[1.0, 20.0], [3.0, 0.0]]
    assert [values.tolist() for values in found.ffn] == [[3.0, 6.0, 0.0, 12.0], [10.0, 12.0, 14.0, pytest.approx(0.2)]]


def test_of_two_entries_the_later_one_counts():
    broad_last = apply_multipliers(SCORES, {"layers.0.heads.0": 5.0, "layers.*.heads": 2.0}, kept=None)
    broad_first = apply_multipliers(SCORES, {"layers.*.heads": 2.0, "layers.0.heads.0": 5.0}, kept=None)
    assert broad_last.heads[0].tolist() == [2.0, 4.0]
    assert broad_first.heads[0].tolist() == [5.0, 4.0]


def test_infinity_protects_even_a_score_of_zero_and_a_large_factor_does_not():
    found = apply_multipliers(SCORES, {"layers.1.heads": math.inf, "layers.0.heads": 1e300}, kept=None)
    assert found.heads[1].tolist() == [math.inf, math.inf]
    assert bool(found.heads[0].isfinite().all())
    narrowed = apply_multipliers(SCORES, {"layers.1.heads": math.inf, "layers.1.heads.0": 1.0}, kept=None)
    assert [value == math.inf for value in narrowed.heads[1].tolist()] == [False, True]


def test_names_are_those_of_the_dense_model():
    kept = Kept(layers=(2, 5), heads=((1,), ()), ffn=((0, 3), (2,)))
    scores = Scores(heads=(torch.ones(1), torch.ones(0)), ffn=(torch.ones(2), torch.ones(1)))
    table = {"layers.2.heads.1": 2.0, "layers.2.ffn.3": 3.0, "layers.5.ffn.2": 4.0, "layers.0.ffn": 9.0}
    found = apply_multipliers(scores, table, kept=kept)
    assert [values.tolist() for values in found.heads] == [[2.0], []]
    assert [values.tolist() for values in found.ffn] == [[1.0, 3.0], [4.0]]


def test_names_follow_the_structures_through_a_cut():
    table = {"layers.0.ffn.3": 7.0, "layers.1.heads.1": 7.0}
    masks = Masks.ones(WIDTHS)
    masks.ffn[0][1] = masks.heads[1][0] = False
    kept = Kept.all(WIDTHS).after(masks)
    cut = Scores(
        heads=tuple(values[mask] for values, mask in zip(SCORES.heads, masks.heads, strict=True)),
        ffn=tuple(values[mask] for values, mask in zip(SCORES.ffn, masks.ffn, strict=True)),
    )
    whole, part = apply_multipliers(SCORES, table, kept=None), apply_multipliers(cut, table, kept=kept)
    for values, mask, found in zip(
        whole.heads + whole.ffn, masks.heads + masks.ffn, part.heads + part.ffn, strict=True
    ):
        assert torch.equal(values[mask], found)


@settings(deadline=None)
@given(seed=st.integers(0, 100), factor=st.floats(1e-3, 1e3))
def test_factors_of_1_change_no_bit_and_a_common_factor_no_ranking(seed, factor):
    draw = torch.Generator().manual_seed(seed)
    scores = Scores(
        heads=tuple(torch.rand(2, generator=draw) for _ in range(2)),
        ffn=tuple(torch.rand(4, generator=draw) for _ in range(2)),
    )
    names = ("layers.*.heads", "layers.*.ffn")
    assert flat(apply_multipliers(scores, dict.fromkeys(names, 1.0), kept=None)) == flat(scores)
    assert flat(apply_multipliers(scores, {}, kept=None)) == flat(scores)
    scaled = torch.tensor(flat(apply_multipliers(scores, dict.fromkeys(names, factor), kept=None)))
    assert torch.equal(scaled.argsort(stable=True), torch.tensor(flat(scores)).argsort(stable=True))


def test_all_unknown_names_are_listed_with_what_would_work():
    table = dict.fromkeys(("layers.2.heads", "layers.0.ffn", "layers.*.ffn.4", "encoder.0", "layers.0.heads."), 1.0)
    with pytest.raises(ConfigError) as caught:
        check_multipliers(table, WIDTHS, complete=False)
    assert str(caught.value) == (
        "prune.multipliers names what is not there: layers.2.heads, layers.*.ffn.4, encoder.0, layers.0.heads.; "
        "names of this model are layers.<0..1|*>.heads[.<0..1|*>] and layers.<0..1|*>.ffn[.<0..3|*>], * stands for all"
    )


def test_all_missing_names_are_listed_with_what_would_work():
    table = {"layers.0.heads": 1.0, "layers.1.ffn.3": 0.5}
    check_multipliers(table, WIDTHS, complete=False)
    with pytest.raises(ConfigError) as caught:
        check_multipliers(table, WIDTHS, complete=True)
    assert str(caught.value) == (
        "the chosen prune.criterion needs an entry for the heads and the ffn of every layer; prune.multipliers lacks "
        "layers.0.ffn, layers.1.heads; layers.*.heads and layers.*.ffn name all of them at once"
    )
    check_multipliers(table | {"layers.*.ffn": 1.0, "layers.1.heads": math.inf}, WIDTHS, complete=True)
