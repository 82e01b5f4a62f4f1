"""``secateur.prune`` for models in memory: whatever the family and the loss, what was chosen is cut, and it lasts."""

import copy
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn.functional import cross_entropy

import secateur
from secateur.config.one_shot import one_shot_settings
from secateur.config.prune import Round
from secateur.data.tokens import from_lists
from secateur.determinism import fixed_randomness
from secateur.families import FAMILIES
from secateur.families.structures import Masks
from secateur.models.surgery import masked
from secateur.pruning.round import prune_
from secateur.pruning.training import DenseModel
from secateur.training.batches import batches_of
from tests.integration.in_process import output
from tests.tiny_models import ENCODER_TABLES, LABELS, logits_of, tiny_generator, tiny_model, tiny_tokenizer

SMALL = {"ffn_multiple": 4, "search_trials": 0, "repair": "none"}
OF_CLASSES = torch.tensor([1.0, 2.0, 5.0])
HALF = {"macs": 0.5}

# ONNX Runtime adds up the same products in another order; logits of these models are of order 1.
_TOLERANCE = 1e-4


def batches(*, count: int = 4, generates: bool = False, seed: int = 1) -> list[dict[str, torch.Tensor]]:
    """Rows of random tokens, one of each batch padded; and something that only a loss looks at."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        ids = torch.randint(1, 60, (6, 9), generator=generator)
        mask = torch.ones_like(ids)
        mask[0, 5:] = 0
        of_rows = torch.randint(3, (6,), generator=generator)
        labels = ids.masked_fill(mask == 0, -100) if generates else of_rows
        importance = torch.rand(6, generator=generator)
        found.append({"input_ids": ids, "attention_mask": mask, "labels": labels, "importance": importance})
    return found


def weighted(output: Any, batch: Any) -> torch.Tensor:
    """Rows count differently, and so do classes: nothing that the model's own loss knows."""
    losses = cross_entropy(output.logits, batch["labels"], weight=OF_CLASSES, reduction="none")
    return (losses * batch["importance"]).mean()


def of_likely_tokens(output: Any, batch: Any) -> torch.Tensor:
    """The second half of a text alone."""
    logits, labels = output.logits[:, 4:-1], batch["labels"][:, 5:]
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def as_masks(result: secateur.Pruned) -> Masks:
    """Return what a result says that it removed, as masks on the given model."""

    def mask(count: int, gone: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor([unit not in gone for unit in range(count)])

    before = result.before
    return Masks(
        heads=tuple(map(mask, before.heads, result.removed_heads)),
        ffn=tuple(map(mask, before.neurons, result.removed_neurons)),
    )


EXPORTED = ("bert", "qwen3")
"""A classifier and a generator of those below: ``unit/formats`` exports the other families after a cut."""
CLASSIFIERS = [pytest.param(name, False, weighted, id=name) for name in ENCODER_TABLES]
GENERATORS = [
    pytest.param(name, True, of_likely_tokens, id=f"{name}, generator") for name in ("gpt2", "llama", "qwen3")
]


@pytest.mark.parametrize(("name", "generates", "loss"), [*CLASSIFIERS, *GENERATORS])
def test_masked_cut_saved_and_exported_agree(
    tmp_path: Path, name: str, generates: bool, loss: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)
    model = tiny_generator(name) if generates else tiny_model(name)
    expected, before = logits_of(model), {key: tensor.clone() for key, tensor in model.state_dict().items()}
    result = secateur.prune(
        model,
        batches(generates=generates),
        budget=HALF,
        criterion="gradient",
        loss=loss,
        settings=SMALL,
        precision="fp32",
    )
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert torch.equal(logits_of(model), expected)
    assert 0.3 < result.achieved["macs"] <= 0.5
    assert result.after.macs == pytest.approx(result.achieved["macs"] * result.before.macs)
    assert sum(map(len, result.removed_heads)) == sum(result.before.heads) - sum(result.after.heads) > 0
    with masked(model, as_masks(result)):
        torch.testing.assert_close(logits_of(result.model), logits_of(model), atol=1e-5, rtol=1e-5)
    folder = secateur.save(result, tmp_path / "saved", tokenizer=tiny_tokenizer())
    assert torch.equal(logits_of(secateur.load(folder)), logits_of(result.model))
    if name in EXPORTED:
        graph = secateur.export(result, tmp_path / "onnx", tokenizer=tiny_tokenizer())
    if name in EXPORTED and not generates:  # export compares the steps of a generator itself
        ids = torch.arange(5, 32).reshape(3, 9)
        feed = {"input_ids": ids.numpy(), "attention_mask": np.ones((3, 9), np.int64)}
        found = onnxruntime.InferenceSession(graph).run(None, feed)[0]
        with torch.inference_mode():
            wanted = result.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        assert np.abs(found - wanted.numpy()).max() <= _TOLERANCE
    plain = secateur.export(folder, tmp_path / "padded", to="padded")
    torch.testing.assert_close(logits_of(secateur.load(plain)), logits_of(result.model), atol=1e-5, rtol=1e-5)


def test_a_fresh_process_loads_the_same_and_every_command_reads_the_folder(tmp_path: Path) -> None:
    """Saved by ``save`` with its own proof; loaded by a process that has never seen the model."""
    result = secateur.prune(tiny_model("bert"), batches(), budget=HALF, loss=weighted, settings=SMALL, precision="fp32")
    folder = secateur.save(result, tmp_path / "pruned", tokenizer=tiny_tokenizer())
    script = (
        "import sys, json, torch, secateur; ids = torch.arange(5, 32).reshape(3, 9); mask = torch.ones_like(ids); "
        "mask[1, 5:] = 0; torch.set_num_threads(int(sys.argv[2])); model = secateur.load(sys.argv[1]); "
        "print(json.dumps(model(input_ids=ids, attention_mask=mask).logits.double().tolist()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(torch.get_num_threads())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout) == logits_of(result.model).double().tolist()
    card = json.loads(output(tmp_path, "inspect", "pruned", "--json"))["card"]
    assert (card["stage"], card["asked"], card["seed"], card["labels"]) == ("api", {"macs": 0.5}, 0, LABELS)
    assert card["metrics"] == {"dense_loss": result.before.loss, "loss": result.after.loss}
    assert card["parameters"]["criterion"] == "fisher"
    output(tmp_path, "inspect", "pruned")
    answers = json.loads(output(tmp_path, "predict", "pruned", "--json", "the day is good"))
    assert answers[0]["label"] in LABELS
    timed = json.loads(
        output(tmp_path, "bench", "pruned", "--runtime", "torch", "--length", "8", "--repeats", "3", "--json")
    )
    assert timed["results"][0]["median_ms"] > 0
    output(tmp_path, "export", "pruned", "--to", "onnx", "--out", "graph")
    again = secateur.prune(secateur.load(folder), batches(), budget={"macs": 0.6}, settings=SMALL)
    assert again.before.heads == result.after.heads
    assert again.after.macs < result.after.macs


def test_the_commands_of_a_language_model_read_the_folder_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)
    given = {"budget": HALF, "loss": of_likely_tokens, "settings": SMALL}
    result = secateur.prune(tiny_generator("llama"), batches(generates=True), **given)
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    secateur.save(result, tmp_path / "writer", tokenizer=tokenizer)
    told = json.loads(output(tmp_path, "inspect", "writer", "--json"))
    assert (told["card"]["task"], told["labels"]) == ("generation", [])
    assert [layer["heads"] for layer in told["layers"]] == list(result.after.heads)
    written = json.loads(output(tmp_path, "generate", "writer", "the day", "--max-tokens", "4", "--json"))
    assert len(written) == 1
    timed = json.loads(
        output(tmp_path, "bench", "writer", "--runtime", "torch", "--length", "8", "--repeats", "3", "--json")
    )
    assert timed["results"][0]["speedup"] == 1.0


@pytest.mark.parametrize("criterion", ["gradient", "fisher"])
def test_the_choice_follows_the_loss(criterion: str) -> None:
    """A loss that counts the rows of one batch alone chooses as if there were no others, whatever its scale."""
    first, second = batches(count=2)

    def of(number: float) -> Callable[..., torch.Tensor]:
        return lambda output, batch: (
            7.0
            * batch["counts"]
            @ cross_entropy(output.logits, batch["labels"], reduction="none")
            / len(batch["labels"])
            * (number == batch["number"])
        )

    both = [{**batch, "counts": torch.ones(6), "number": float(i)} for i, batch in enumerate((first, second))]
    model, asked = tiny_model("bert"), {"budget": HALF, "criterion": criterion, "settings": SMALL, "precision": "fp32"}
    for number, alone in enumerate((first, second)):
        by_loss = secateur.prune(model, both, loss=of(number), **asked)
        by_rows = secateur.prune(model, [alone], **asked)
        assert by_loss.removed_heads == by_rows.removed_heads
        assert by_loss.removed_neurons == by_rows.removed_neurons
    losses = [secateur.prune(model, both, loss=of(number), **asked) for number in (0, 1)]
    assert losses[0].removed_neurons != losses[1].removed_neurons


@pytest.mark.parametrize("generates", [False, True])
@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "fisher", "obs"])
def test_the_engine_is_that_of_a_round(criterion: str, generates: bool) -> None:
    """The same rows as tokens of a stage and as batches of one's own: the same choice, and weights to the same bits."""
    lists = [row.tolist() for given in batches() for row in given["input_ids"]]
    labels = [number % 3 for number in range(len(lists))]
    rows = from_lists(lists, labels=labels, given=() if generates else None)
    model = tiny_generator("llama") if generates else tiny_model("bert")
    more = {"ffn_multiple": 4, "search_trials": 0, "repair": "none" if criterion in ("fisher", "obs") else "bias"}
    if generates:
        more["repair"] = "none"
    own = [
        {**batch.inputs(), "labels": batch.input_ids if generates else batch.labels}
        for batch in batches_of(rows, batch_size=8, pad_token_id=0)
    ]
    result = secateur.prune(model, own, budget=HALF, criterion=criterion, settings=more, precision="fp32", seed=3)
    asked = {"criterion": criterion, "recovery.batch_size": 8, "recovery.epochs": 0.0, "schedule.tries": 1, **more}
    dense = copy.deepcopy(model)
    with fixed_randomness(seed=3, device=model.device):
        outcome = prune_(
            model,
            train=rows,
            validation=rows,
            dense_model=DenseModel(model=dense, quality=1.0, logits=None if generates else torch.zeros(0)),
            target=0.5,
            settings=one_shot_settings(asked),
            round_=Round(prev="baseline"),
            seed=3,
            precision="fp32",
            title="by hand",
        )
    expected, found = outcome.model.state_dict(), result.model.state_dict()
    assert outcome.achieved["macs"] == result.achieved["macs"]
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_criteria_that_read_no_loss_say_the_same_for_all() -> None:
    model, asked = tiny_model("bert"), {"budget": HALF, "criterion": "obs", "settings": SMALL, "precision": "fp32"}
    plain, own = (secateur.prune(model, batches(), loss=loss, **asked) for loss in (None, weighted))
    assert (plain.removed_heads, plain.removed_neurons) == (own.removed_heads, own.removed_neurons)
    assert plain.after.loss != own.after.loss


def test_the_losses_that_are_told_are_means_over_the_rows() -> None:
    model, given = tiny_model("bert"), [*batches(count=2), {k: v[:2] for k, v in batches(count=1, seed=3)[0].items()}]
    result = secateur.prune(model, given, budget=HALF, loss=weighted, settings=SMALL, precision="fp32")
    for side, who in ((result.before, model), (result.after, result.model)):
        with torch.inference_mode():
            total = sum(
                float(weighted(who(input_ids=b["input_ids"], attention_mask=b["attention_mask"]), b)) * len(b["labels"])
                for b in given
            )
        assert side.loss == pytest.approx(total / 14, rel=1e-5)


@pytest.mark.parametrize("generates", [False, True])
def test_the_same_call_twice_gives_the_same_bits_and_leaves_the_process_as_it_was(generates: bool) -> None:
    model = tiny_generator("llama") if generates else tiny_model("distilbert")
    asked = {"budget": HALF, "epochs": 2.0, "settings": {"ffn_multiple": 4}, "seed": 5}
    loss = of_likely_tokens if generates else weighted
    torch.manual_seed(11)
    states = (torch.get_rng_state(), random.getstate(), torch.are_deterministic_algorithms_enabled())
    first = secateur.prune(model, batches(generates=generates), loss=loss, **asked)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (random.getstate(), torch.are_deterministic_algorithms_enabled()) == states[1:]
    assert not model.training
    torch.manual_seed(12)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        second = secateur.prune(model, iter(batches(generates=generates)), loss=loss, **asked)
    found, wanted = second.model.state_dict(), first.model.state_dict()
    assert all(torch.equal(tensor, found[key]) for key, tensor in wanted.items())
    assert (first.before, first.after, first.achieved) == (second.before, second.after, second.achieved)
    other = secateur.prune(model, batches(generates=generates), loss=loss, **{**asked, "seed": 6})
    assert any(not torch.equal(tensor, wanted[key]) for key, tensor in other.model.state_dict().items())


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_recovery_learns_what_the_loss_asks_for(share: float) -> None:
    """All rows are of one class for this loss, whatever the labels say; weights that were not best are not kept."""

    def always_last(output: Any, batch: Any) -> torch.Tensor:
        return cross_entropy(output.logits, torch.full_like(batch["labels"], 2))

    asked = {"recovery.learning_rate": 3e-3, "recovery.distillation_weight": share, **SMALL}
    given = {"budget": HALF, "loss": always_last, "criterion": "gradient"}
    cut = secateur.prune(tiny_model("bert"), batches(), settings=SMALL, **given)
    trained = secateur.prune(tiny_model("bert"), batches(), settings=asked, epochs=10.0, **given)
    assert (cut.removed_heads, cut.removed_neurons) == (trained.removed_heads, trained.removed_neurons)
    assert trained.after.loss < cut.after.loss - 0.1


def test_types_come_back_as_they_went_in() -> None:
    model = tiny_model("bert").bfloat16()
    result = secateur.prune(model, batches(), budget=HALF, loss=weighted, settings=SMALL)
    assert {tensor.dtype for tensor in result.model.parameters()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("budget", "more"),
    [
        ({"params": 0.6}, {}),
        ({"sparsity": 0.4}, {}),
        ({"sparsity": 0.5}, {"settings": {"granularity": "weights"}, "criterion": "wanda"}),
        ({"macs": 0.6}, {"settings": {"num_layers": 2, "hidden_size": 24, "ffn_multiple": 4}, "criterion": "gradient"}),
        ({"macs": 0.6}, {"settings": {"regrow_fraction": 0.1, "ffn_multiple": 4}, "criterion": "gradient"}),
        ({"macs": 0.6}, {"settings": {"regularizer": "l1", "ffn_multiple": 4}, "criterion": "gradient"}),
        ({"macs": 0.6}, {"settings": {"recovery.hidden_weight": 1.0, "ffn_multiple": 4}, "epochs": 1.0}),
    ],
)
def test_what_the_engine_does_it_does_with_own_batches(tmp_path: Path, budget: dict[str, float], more: Any) -> None:
    """Each ends within its budget, and is read again to the same bits; layers, features and single weights too."""
    (kind, asked), settings = next(iter(budget.items())), {"ffn_multiple": 4} | more.pop("settings", {})
    result = secateur.prune(tiny_model("bert"), batches(), budget=budget, loss=weighted, settings=settings, **more)
    found = result.achieved[kind]
    assert asked - 1e-6 <= found < asked + 0.2 if kind == "sparsity" else asked - 0.3 < found <= asked
    folder = secateur.save(result, tmp_path / "pruned")
    assert torch.equal(logits_of(secateur.load(folder)), logits_of(result.model))


@pytest.mark.parametrize("tied", [True, False])
def test_a_rotated_generator_keeps_its_budget_and_its_bits(tmp_path: Path, tied: bool) -> None:
    """Where hidden states are compared with the dense model's, features stay, which both have."""
    ids = torch.randint(1, 60, (6, 9), generator=torch.Generator().manual_seed(1))
    given, model = [{"input_ids": ids, "labels": ids}], tiny_generator("qwen3", tied=tied)
    settings: dict[str, Any] = {"hidden_size": 24, "ffn_multiple": 4}
    asked: dict[str, Any] = {"budget": {"params": 0.6}, "criterion": "gradient", "epochs": 1.0}
    result = secateur.prune(model, given, settings=settings, **asked)
    assert 0.4 < result.achieved["params"] <= 0.6
    assert (result.model.config.to_dict().get("final_gain_matrix") is True) == tied
    folder = secateur.save(result, tmp_path / "pruned")
    assert torch.equal(logits_of(secateur.load(folder)), logits_of(result.model))
    compared = secateur.prune(model, given, settings=settings | {"recovery.hidden_weight": 1.0}, **asked)
    assert "final_gain_matrix" not in compared.model.config.to_dict()
    assert compared.model.get_input_embeddings().embedding_dim == 24


def test_rows_and_a_tokenizer_are_batches_too() -> None:
    texts = ["good day", "the bad day is very bad", "a train", "the day is good", "bad", "very good train"] * 3
    rows = [(text, LABELS[number % 3]) for number, text in enumerate(texts)]
    named = [{"text": text, "label": LABELS.index(label)} for text, label in rows]
    model, asked = tiny_model("bert"), {"budget": HALF, "criterion": "gradient", "settings": SMALL}
    first, second = (secateur.prune(model, data, tokenizer=tiny_tokenizer(), **asked) for data in (rows, iter(named)))
    assert (first.before, first.after) == (second.before, second.after)
    generated = secateur.prune(tiny_generator("gpt2"), texts, tokenizer=tiny_tokenizer(), **asked)
    assert generated.before.loss > 0
    held_out = secateur.prune(model, rows, tokenizer=tiny_tokenizer(), validation=rows[:5], **asked)
    assert held_out.removed_neurons == first.removed_neurons
    assert held_out.before.loss != first.before.loss


def test_every_family_is_named_for_a_model_that_is_not_supported() -> None:
    with pytest.raises(secateur.ModelError, match=r"found a torch\.nn\.modules\.linear\.Linear") as caught:
        secateur.prune(torch.nn.Linear(2, 2), batches(), budget=HALF)
    assert all(name in str(caught.value) for name in FAMILIES)
