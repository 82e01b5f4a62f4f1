import csv
import shutil

import pytest

from secateur.budget.cost import encoder_macs
from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.errors import BudgetError, ProjectError
from secateur.files import sha256_file, write_json
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer, read_card, verify
from secateur.models.surgery import widths_of
from secateur.pruning.state_files import SUPPRESSED, read_state
from secateur.pruning.vocabulary import Vocabulary
from secateur.pruning.weights.mask_files import MASKS
from secateur.pruning.weights.matrices import prunable
from secateur.training.prepared_rows import read_prepared_rows
from secateur.workflow.job import Job
from secateur.workflow.rounds import dense_model_of
from tests.tasks.stage_chain import PRUNE, RUN, run_baseline, run_round, write_inputs

_NO_TRAINING = PRUNE.model_copy(update={"recovery": PRUNE.recovery.model_copy(update={"epochs": 0.0})})
_IMPOSSIBLE = _NO_TRAINING.model_copy(update={"max_drop": 0.0, "criterion": "magnitude"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("rounds")
    write_inputs(root)
    run_baseline(root)
    run_round(root, "r1", "baseline")
    run_round(root, "r2", "r1")
    return root


@pytest.fixture
def root(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize(("parameters", "found"), [({}, "none"), ({"baseline.class_weights": "balanced"}, "balanced")])
def test_a_recovery_weighs_labels_as_the_dense_model_did(finished, parameters, found):
    dense, model = finished / "models/baseline", load(finished / "models/baseline")
    tokenizer, rows = load_tokenizer(dense), read_prepared_rows(finished / "tokens")
    card = Card.read(dense).changed(parameters=parameters)
    job, words = Job("prune@r1", "key", {}, {}), Vocabulary(tokenizer, tokenizer, table=None)
    assert dense_model_of(job, model, rows, words, dense=card, run=RUN, prune=PRUNE).class_weights == found


def card_of(root, name):
    return read_card(root / "models" / name)


def test_rounds_meet_the_schedule(finished):
    dense = encoder_macs(load(finished / "models/baseline"), 32)
    for name, target in (("r1", 0.75), ("r2", 0.5)):
        card, model = card_of(finished, name), load(finished / "models" / name)
        assert card["asked"] == {"macs": target}
        # One head or one block of neurons is up to 0.1 of this tiny model.
        assert target - 0.1 < card["achieved"]["macs"] <= target
        assert card["achieved"]["macs"] == pytest.approx(encoder_macs(model, 32) / dense)
        assert card["widths"] == widths_of(model).as_dict()
        assert card["dense_widths"] == {"heads": [4, 4], "ffn": [64, 64], "head_dim": 8}
        assert all(width % 8 == 0 for width in card["widths"]["ffn"])
        assert (card["stage"], card["key"], card["state"]) == (f"prune@{name}", f"key-of-{name}", "recovered")
        assert card["accepted"] is True
        assert card["inputs"] == {"prev": "0123"}
        verify(finished / "models" / name)


def test_the_curve_starts_right_after_the_cut(finished):
    with (finished / "r1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 6]
    assert rows[0]["train_loss"] == ""


def test_same_inputs_same_bytes(root):
    before = {
        name: sha256_file(root / name) for name in ("models/r1/model.safetensors", "models/r1/card.json", "r1.csv")
    }
    run_round(root, "r1", "baseline")
    assert {name: sha256_file(root / name) for name in before} == before


def test_a_budget_of_everything_without_training_changes_no_bit(root):
    whole = _NO_TRAINING.model_copy(update={"budget": PRUNE.budget.model_copy(update={"macs": 1.0})})
    run_round(root, "r1", "baseline", settings=whole)
    assert card_of(root, "r1")["weights_sha256"] == card_of(root, "baseline")["weights_sha256"]
    assert card_of(root, "r1")["accepted"] is True


def test_below_the_floor_the_round_is_rolled_back_and_later_ones_pass_through(root):
    # A floor above every score: whether a cut of so tiny a model loses anything is a matter of luck.
    dense = card_of(root, "baseline")
    dense["metrics"]["validation_macro_f1"] = 1.1
    write_json(root / "models/baseline/card.json", dense)
    run_round(root, "r1", "baseline", settings=_IMPOSSIBLE)
    r1 = card_of(root, "r1")
    assert r1["weights_sha256"] == dense["weights_sha256"]
    assert (r1["accepted"], r1["stopped"], r1["state"]) == (False, True, "dense")
    assert r1["reason"].startswith("r1 was rolled back: validation macro-F1 ")
    assert "is below the floor of" in r1["reason"]
    assert r1["widths"] == dense["widths"]
    assert r1["metrics"] == dense["metrics"]
    achieved = [entry["achieved"]["macs"] for entry in r1["tries"]]
    assert achieved[0] <= 0.75
    assert achieved == sorted(achieved) and len(achieved) == 3
    assert r1["tried"]["achieved"]["macs"] == achieved[-1]
    assert set(r1["tried"]["metrics"]) == {"validation_loss", "validation_accuracy", "validation_macro_f1"}
    tried = card_of(root, "r1/tried")
    assert tried["widths"] == r1["tried"]["widths"] == widths_of(load(root / "models/r1/tried")).as_dict()
    assert (tried["accepted"], tried["metrics"]) == (False, r1["tried"]["metrics"])
    assert tried["weights_sha256"] != dense["weights_sha256"]

    run_round(root, "r2", "r1", settings=_IMPOSSIBLE)
    r2 = card_of(root, "r2")
    assert r2["weights_sha256"] == dense["weights_sha256"]
    assert (r2["accepted"], r2["stopped"], r2["tried"]) == (False, True, None)
    assert r2["reason"] == r1["reason"]
    assert len((root / "r2.csv").read_text().splitlines()) == 1
    assert not (root / "models/r2/tried").exists()
    verify(root / "models/r2")


def test_an_unreachable_budget_is_refused(root):
    tiny = PRUNE.model_copy(update={"budget": PRUNE.budget.model_copy(update={"macs": 0.01})})
    with pytest.raises(BudgetError, match=r"0\.01 is not reachable.*ask for 0\.\d+ or more"):
        run_round(root, "r2", "r1", settings=tiny)


def changed(**changes):
    """Return the settings with some of them changed, checked by the schema."""
    return type(PRUNE).model_validate({**PRUNE.model_dump(), **changes})


def state_of(root, name):
    return read_state(root / "models" / name, load(root / "models" / name), card=Card.of(card_of(root, name)))


def test_what_is_suppressed_is_known_to_the_next_round_which_may_remove_it(root):
    settings = changed(action="suppress", criterion="magnitude", budget={"sparsity": 0.5})
    run_round(root, "r1", "baseline", settings=settings)
    r1 = card_of(root, "r1")
    assert r1["widths"] == r1["dense_widths"]
    assert r1["achieved"]["macs"] == 1.0
    assert r1["achieved"]["sparsity"] >= 0.25
    assert SUPPRESSED in r1["files"]
    verify(root / "models/r1")

    below = changed(action="suppress", criterion="magnitude", budget={"sparsity": 0.5}, max_drop=0.0)
    dense = card_of(root, "baseline")
    dense["metrics"]["validation_macro_f1"] = 1.1
    write_json(root / "models/baseline/card.json", dense)
    run_round(root, "r2", "r1", settings=below)
    assert card_of(root, "r2")["stopped"] is True
    assert card_of(root, "r2")["weights_sha256"] == r1["weights_sha256"]
    before, after = state_of(root, "r1").suppressed, state_of(root, "r2").suppressed
    assert [mask.tolist() for mask in after.heads] == [mask.tolist() for mask in before.heads]

    dense["metrics"]["validation_macro_f1"] = 0.5
    write_json(root / "models/baseline/card.json", dense)
    run_round(root, "r2", "r1", settings=settings, action="remove")
    r2 = card_of(root, "r2")
    assert SUPPRESSED not in r2["files"]
    assert r2["achieved"]["macs"] <= 0.6
    assert state_of(root, "r2").suppressed is None


def test_single_weights_stay_zero_from_round_to_round(root):
    settings = changed(granularity="weights", criterion="magnitude", budget={"sparsity": 0.5})
    gone = {}
    for name, prev, sparsity in (("r1", "baseline", 0.25), ("r2", "r1", 0.5)):
        run_round(root, name, prev, settings=settings)
        card, masks, model = card_of(root, name), state_of(root, name).weights, load(root / "models" / name)
        assert card["asked"] == {"sparsity": sparsity}
        left = {"macs": 1.0, "params": 1.0, "sparsity": pytest.approx(sparsity, abs=1e-4)}
        assert card["achieved"] == left | {"max_drop": card["achieved"]["max_drop"]}
        assert MASKS in card["files"]
        for matrix, linear in prunable(model).items():
            assert bool((linear.weight[~masks.matrices[matrix]] == 0).all())
            assert not bool((masks.matrices[matrix] & gone.get(matrix, masks.matrices[matrix] & False)).any())
            gone[matrix] = ~masks.matrices[matrix]


def test_depth_features_and_vocabulary_go_in_the_first_round_and_stay_gone(root):
    settings = changed(
        num_layers=1, hidden_size=24, vocabulary_min_count=3, criterion="magnitude", budget={"macs": 0.3},
        recovery=PRUNE.recovery.model_copy(update={"hidden_weight": 1.0}).model_dump(),
    )  # fmt: skip
    dense = load(root / "models/baseline")
    dense_score = card_of(root, "baseline")["metrics"]["validation_macro_f1"]
    for name, prev in (("r1", "baseline"), ("r2", "r1")):
        run_round(root, name, prev, settings=settings)
        card, model = card_of(root, name), load(root / "models" / name)
        assert card["accepted"], card["reason"]
        assert card["achieved"]["macs"] <= card["asked"]["macs"]
        assert len(card["widths"]["heads"]) == len(card["kept"]["layers"]) == 1
        assert len(card["features"]) == model.config.hidden_size == 24
        assert model.config.vocab_size == len(load_tokenizer(root / "models" / name)) < dense.config.vocab_size
        assert card["vocabulary"]["tokens"] == model.config.vocab_size
        assert (card["vocabulary"]["asked"], card["vocabulary"]["min_count"]) == (3, 3)
        assert card["vocabulary"]["before"] == dense_score
    assert card_of(root, "r1")["features"] == card_of(root, "r2")["features"]
    assert card_of(root, "r1")["kept"]["layers"] == card_of(root, "r2")["kept"]["layers"]


def test_a_vocabulary_that_validation_rows_need_stays(root, monkeypatch):
    run_round(root, "r1", "baseline", settings=changed(vocabulary_min_count="auto", vocabulary_max_drop=0.999))
    assert card_of(root, "r1")["vocabulary"]["min_count"] == 5
    scores = iter([0.0, 0.0, 0.0, 0.0])
    worthless = type("Scores", (), {"quality": property(lambda _: next(scores))})
    monkeypatch.setattr("secateur.workflow.rounds.validate", lambda *_, **__: worthless())
    run_round(root, "r1", "baseline", settings=changed(vocabulary_min_count="auto"))
    cut, dense = card_of(root, "r1")["vocabulary"], load(root / "models/baseline")
    assert (cut["min_count"], cut["tokens"], cut["asked"]) == (0, cut["dense_tokens"], "auto")
    assert load(root / "models/r1").config.vocab_size == dense.config.vocab_size


def test_a_budget_of_time_takes_the_prices_of_the_table(root):
    settings = changed(budget={"latency": 0.5}, latency={**PRUNE.latency.model_dump(), "length": 16})
    table = LatencyTable(
        attention_ms=(0.0, 1.0, 1.5, 1.75, 2.0),
        ffn_widths=(0, 64),
        ffn_ms=(0.0, 4.0),
        fixed_ms=0.5,
        dense_ms=12.5,
        settings=settings.latency,
        shape=shape_of(load(root / "models/baseline").config),
        machine={},
    )
    table.write(root / "latency_table.json")
    run_round(root, "r1", "baseline", settings=settings)
    card = card_of(root, "r1")
    assert card["asked"] == {"latency": 0.75}
    assert 0.6 < card["achieved"]["latency"] <= 0.75
    assert card["achieved"]["latency"] == table.predict(widths_of(load(root / "models/r1"))) / 12.5
    other = changed(budget={"latency": 0.5}, latency={**settings.latency.model_dump(), "batch": 8})
    with pytest.raises(ProjectError, match=r"latency_table\.json was measured with batch=1 \(asked: 8\)"):
        run_round(root, "r1", "baseline", settings=other)


def test_robustness_has_a_floor_of_its_own(root):
    run_round(root, "r1", "baseline", settings=changed(max_robust_drop=0.99, criterion="magnitude"))
    r1 = card_of(root, "r1")
    assert r1["accepted"] is True
    assert 0.0 <= r1["metrics"]["validation_robust_macro_f1"] <= 1.0


def test_a_promise_is_kept_and_told(root):
    """The stage asks for quality, and says what it cost: of time by the table, of the score on validation."""
    settings = changed(budget={"max_drop": 0.2}, latency={**PRUNE.latency.model_dump(), "length": 16})
    table = LatencyTable(
        attention_ms=(0.0, 1.0, 1.5, 1.75, 2.0),
        ffn_widths=(0, 64),
        ffn_ms=(0.0, 4.0),
        fixed_ms=0.5,
        dense_ms=12.5,
        settings=settings.latency,
        shape=shape_of(load(root / "models/baseline").config),
        machine={},
    )
    table.write(root / "latency_table.json")
    dense = card_of(root, "baseline")["metrics"]["validation_macro_f1"]
    run_round(root, "r2", "baseline", settings=settings)
    card = card_of(root, "r2")
    assert card["accepted"] is True
    assert (card["asked"], card["price"]) == ({"max_drop": 0.2}, "latency")
    assert card["achieved"]["max_drop"] == pytest.approx(dense - card["metrics"]["validation_likely_macro_f1"])
    assert card["metrics"]["validation_macro_f1"] <= 1.0
    assert card["achieved"]["max_drop"] <= 0.2
    assert card["achieved"]["latency"] == table.predict(widths_of(load(root / "models/r2"))) / 12.5
    assert card["tries"][-1]["accepted"] is True
    assert card["tries"][-1]["widths"] == card["widths"]
    assert card["achieved"]["latency"] <= card["tries"][-1]["target"] + 1e-9
    assert all(probe["epochs"] < 1.0 and probe["error"] > 0.0 for probe in card["probes"])
    before = {name: sha256_file(root / name) for name in ("models/r2/model.safetensors", "models/r2/card.json")}
    run_round(root, "r2", "baseline", settings=settings)
    assert {name: sha256_file(root / name) for name in before} == before, "probes and tries repeat to the bit"


def test_a_broken_promise_tells_every_try_and_keeps_the_model(root):
    dense = card_of(root, "baseline")
    dense["metrics"]["validation_macro_f1"] = 1.5
    write_json(root / "models/baseline/card.json", dense)
    run_round(root, "r1", "baseline", settings=changed(budget={"max_drop": 0.01, "price": "macs"}))
    card = card_of(root, "r1")
    assert (card["accepted"], card["stopped"]) == (False, True)
    assert "r1 was rolled back: likely validation macro-F1" in card["reason"]
    assert "less the promise of 0.005)" in card["reason"]
    assert [entry["accepted"] for entry in card["tries"]] == [False] * len(card["tries"])
    targets = [entry["target"] for entry in card["tries"]]
    assert targets == sorted(targets)
    for name in ("widths", "achieved", "metrics"):
        assert card["tried"][name] == card["tries"][-1][name]
    run_round(root, "r2", "r1", settings=changed(budget={"max_drop": 0.01, "price": "macs"}))
    assert (card_of(root, "r2")["tries"], card_of(root, "r2")["probes"]) == ([], [])


def test_a_round_that_falls_through_its_floor_tries_a_gentler_cut(root):
    """Version 0.3.0 rolled back at once. The floor lies where the whole model holds it and a quarter of it does not."""
    settings = changed(criterion="magnitude", budget={"macs": 0.25}, max_drop=0.0)
    settings = settings.model_copy(
        update={
            "recovery": settings.recovery.model_copy(update={"epochs": 0.0}),
            "schedule": changed(schedule={"shape": "linear", "steps": 1, "tries": 10}).schedule,
        }
    )
    run_round(root, "r1", "baseline", settings=settings)
    card = card_of(root, "r1")
    achieved = [entry["achieved"]["macs"] for entry in card["tries"]]
    assert len(achieved) > 1
    assert achieved == sorted(achieved)
    assert card["asked"] == {"macs": 0.25}
    assert card["accepted"] is True
    assert card["achieved"]["macs"] == achieved[-1] > 0.25
