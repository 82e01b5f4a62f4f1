"""Neighbours that are kept: by hand, and what must not change them."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from secateur.statistics import neighbours
from secateur.statistics.neighbours import neighbours_kept


def vectors(count: int, *, seed: int = 0, width: int = 8) -> Tensor:
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def on_a_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_the_same_vectors_keep_all_neighbours() -> None:
    found = vectors(50)
    assert neighbours_kept(found, found).means() == {
        "recall_at_1": 1.0,
        "recall_at_10": 1.0,
        "rank_correlation": pytest.approx(1.0),
    }


def test_by_hand() -> None:
    """Four others, of which two are asked for; the far one and the nearest change places for the first text."""
    dense = on_a_circle(0, 10, 20, 40, 80)
    kept = neighbours_kept(on_a_circle(0, 80, 20, 40, 10), dense)
    assert kept.queries.tolist() == [0, 1, 2, 3, 4]
    # Nearest of 0 was 1 and is 4; its two nearest were 1 and 2 and are 4 and 2.
    assert kept.recall_at_1[0] == 0.0
    assert kept.recall_at_10[0] == 0.5
    # Ranks of 1, 2, 3, 4 were 4, 3, 2, 1 and are 1, 3, 2, 4: 1 - 6 * 18 / (4 * 15).
    assert kept.rank_correlation[0] == pytest.approx(-0.8)


def test_a_rotation_changes_nothing_and_neither_does_the_order() -> None:
    dense, found = vectors(60), normalize(vectors(60) + 0.3 * vectors(60, seed=1), dim=1)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2)))[0]
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    expected = neighbours_kept(found, dense).means()
    assert 0.2 < expected["recall_at_10"] < 0.9
    assert neighbours_kept(found @ basis, dense).means() == pytest.approx(expected)
    assert neighbours_kept(found[order], dense[order]).means() == pytest.approx(expected)


def test_copies_are_as_near_as_each_other() -> None:
    """Twenty copies of a text: any ten of them are right, whichever the model puts first."""
    dense = torch.cat([on_a_circle(*[0.0] * 20), on_a_circle(*range(40, 80, 2))])
    found = normalize(dense + 1e-4 * vectors(40, width=2), dim=1)
    assert (neighbours_kept(found, dense).recall_at_10[:20] == 1.0).all()


def test_of_many_rows_a_fixed_sample_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_ROWS", 40)
    monkeypatch.setattr(neighbours, "MAX_QUERIES", 10)
    monkeypatch.setattr(neighbours, "_QUERIES_AT_ONCE", 3)
    kept = neighbours_kept(vectors(100), vectors(100))
    assert len(kept.recall_at_10) == len(set(kept.queries.tolist())) == 10
    assert kept.queries.max() < 100
    assert kept.columns().shape == (10, 3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_rows(count: int) -> None:
    assert np.isfinite(neighbours_kept(vectors(count), vectors(count, seed=1)).columns()).all()
