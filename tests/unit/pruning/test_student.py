"""A static student: what it is made of, what it computes, how it is kept, and what cannot be done with it."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from secateur.budget.cost import cost_of
from secateur.budget.goal import Goal
from secateur.config.prune import Recovery, Round
from secateur.errors import CheckpointError, ModelError
from secateur.formats.onnx import export_onnx
from secateur.formats.padded import export_padded
from secateur.inference.runners import open_folder
from secateur.models.card import Card
from secateur.models.checkpoint import load, save
from secateur.pruning import student
from secateur.pruning.once import check_model
from secateur.pruning.student import FEATURES, principal_features, static_student, student_recovery
from secateur.pruning.training import DenseModel
from secateur.pruning.tries import run_round
from tests.tiny_models import tiny_generator
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows


def a_student() -> PreTrainedModel:
    torch.manual_seed(0)
    return static_student(tiny_model(), max_tokens=32)


def test_it_is_the_sum_of_its_tokens_whatever_their_order_and_the_padding() -> None:
    made = a_student()
    ids, mask = torch.tensor([[3, 1, 4, 1]]), torch.ones(1, 4, dtype=torch.int64)
    padded = torch.tensor([[4, 3, 1, 1, 0, 0]])
    of_padded = torch.tensor([[1, 1, 1, 1, 0, 0]])
    with torch.inference_mode():
        by_hand = made.norm(made.embeddings(ids).sum(dim=1) / 4**0.5)
        expected = made.classifier(torch.nn.functional.gelu(made.hidden(by_hand)))
        torch.testing.assert_close(made(ids, mask).logits, expected)
        torch.testing.assert_close(made(padded, of_padded).logits, expected)
        torch.testing.assert_close(made(ids).logits, expected)
    assert not torch.allclose(made(torch.tensor([[3, 1, 4]])).logits, expected)


def test_it_begins_with_the_principal_components_of_the_dense_models_tokens() -> None:
    draw = torch.Generator().manual_seed(1)
    table = torch.randn(400, FEATURES + 40, generator=draw) @ torch.randn(FEATURES + 40, FEATURES + 40, generator=draw)
    found = principal_features(table, FEATURES)
    assert found.shape == (400, FEATURES)
    centred = (table - table.mean(dim=0)).double()
    _, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    scale = float(found.double().norm()) / float(singular[:FEATURES].norm())
    torch.testing.assert_close(
        torch.linalg.svdvals(found.double()), scale * singular[:FEATURES], rtol=1e-4, atol=1e-4 * float(singular[0])
    )
    narrow = torch.randn(50, 8, generator=draw)
    torch.testing.assert_close(
        torch.corrcoef(principal_features(narrow, FEATURES).flatten()[None].repeat(2, 1))[0, 1], torch.tensor(1.0)
    )
    assert principal_features(narrow, FEATURES).shape == (50, 8)


def test_few_rows_take_small_steps_and_enough_of_them() -> None:
    few, many = (student_recovery(Recovery(), rows=rows) for rows in (350, 23_000))
    assert few.batch_size < many.batch_size and few.train_embeddings
    assert few.least_steps >= 400 and many.passes == few.passes


def test_it_is_saved_exported_and_counted(tmp_path: Path) -> None:
    made = a_student()
    save(made, None, tmp_path / "saved", card=Card(task="classification"))
    again, ids = load(tmp_path / "saved"), torch.tensor([[5, 9, 2]])
    assert torch.equal(again(ids).logits, made(ids).logits)
    cost = cost_of(made)
    hidden, neurons = made.config.hidden_size, made.config.intermediate_size
    assert cost.macs == hidden * neurons + neurons * made.config.num_labels
    assert cost.params == sum(parameter.numel() for parameter in made.parameters())
    for int8 in (False, True):
        folder = export_onnx(tmp_path / "saved", tmp_path / f"onnx{int8}", int8=int8).parent
        runner = open_folder(folder, runtime="onnx-int8" if int8 else "onnx", num_threads=1)
        found = torch.from_numpy(runner(ids.numpy(), torch.ones_like(ids).numpy(), None))
        torch.testing.assert_close(found, made(ids).logits, atol=0.1 if int8 else 1e-5, rtol=0.0)


def test_what_cannot_be_done_with_it_is_refused(tmp_path: Path) -> None:
    made = a_student()
    save(made, None, tmp_path / "saved", card=Card(task="classification"), check_reload=False)
    with pytest.raises(ModelError, match=r"no layers to pad.*--to onnx"):
        export_padded(tmp_path / "saved", tmp_path / "padded")
    assert not (tmp_path / "padded").exists()
    with pytest.raises(ModelError, match=r"x is a static student, of which nothing can be cut"):
        check_model(made, prune_settings(), name="x")
    with pytest.raises(ModelError, match="writes text: leave student out"):
        static_student(tiny_generator("llama"), max_tokens=32)
    (tmp_path / "saved/config.json").write_text('{"model_type": "bert", "num_hidden_layers": 0}')
    with pytest.raises((ModelError, CheckpointError), match=r"digest|no layers"):
        load(tmp_path / "saved")


def test_a_round_teaches_it_and_judges_it_by_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "_LEAST_STEPS", 60)
    dense, rows = tiny_model(), tiny_rows(400)
    with torch.inference_mode():
        ids = [torch.from_numpy(rows.ids(row)).long()[None] for row in range(len(rows))]
        logits = torch.cat([dense(row).logits for row in ids])

    def came_to(quality: float) -> tuple[bool, float, list[torch.Tensor]]:
        torch.manual_seed(0)
        result = run_round(
            dense,
            train=rows,
            validation=rows,
            dense_model=DenseModel(model=dense, quality=quality, logits=logits),
            goal=Goal(max_drop=0.02),
            settings=prune_settings(),
            round_=Round(prev="baseline", student="static", epochs=6.0),
            seed=0,
            precision="fp32",
            title="r4",
        )
        outcome = result.outcome
        assert len(result.tries) == 1 and not result.probes and outcome.length.asked_epochs == 6.0
        assert outcome.achieved["macs"] == 0.0 and "latency" not in outcome.achieved
        assert outcome.history[-1].scores.loss < outcome.history[0].scores.loss
        return outcome.accepted, outcome.scores.quality, [one.detach() for one in outcome.model.parameters()]

    accepted, quality, weights = came_to(0.0)
    assert accepted
    again = came_to(quality + 1.0)
    assert not again[0] and again[1] == quality
    assert all(map(torch.equal, weights, again[2]))
