import pytest
import torch

from secateur.config.training import TrainingSection
from secateur.determinism import fix_randomness
from secateur.errors import ModelError
from secateur.training.batches import batches_of
from secateur.training.hidden_states import HiddenStates, distance, layer_mapping
from secateur.training.loop import Plan, train_
from secateur.training.objectives import LabelLoss, outputs_of
from tests.unit.pruning.tiny import tiny_model, tiny_rows

ROWS = tiny_rows(32)
SETTINGS = TrainingSection(
    epochs=6,
    learning_rate=5e-3,
    batch_size=8,
    weight_decay=0.0,
    warmup_fraction=0.1,
    label_smoothing=0.0,
    train_embeddings=True,
    max_grad_norm=1.0,
)


def first_batch(rows=ROWS):
    return next(batches_of(rows, batch_size=16, pad_token_id=0))


def loss_of(student, teacher, *, batch=None, **changes):
    batch = first_batch() if batch is None else batch
    values = {"layers": (0, 1), "weight": 1.0, "precision": "fp32"} | changes
    objective = HiddenStates(base=LabelLoss(0.0), teacher=teacher, **values)
    outputs = outputs_of(student, batch, precision="fp32", hidden_states=True)
    return (objective(outputs, batch) - LabelLoss(0.0)(outputs, batch)).item()


def test_distance_by_hand():
    teacher = torch.tensor([[[3.0, 4.0], [100.0, 100.0]]])
    student = torch.tensor([[[3.0, 2.0], [-7.0, 9.0]]])
    mask = torch.tensor([[1, 0]])
    assert distance(student, teacher, mask=mask).item() == pytest.approx(4 / 25)
    assert distance(teacher, teacher, mask=mask).item() == 0.0
    assert distance(0 * teacher, teacher, mask=mask).item() == pytest.approx(1.0)


def test_distance_does_not_depend_on_padding_or_scale():
    teacher, student = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    expected = distance(student, teacher, mask=mask)
    padded = [torch.cat([states, torch.randn(2, 2, 4)], dim=1) for states in (student, teacher)]
    wider = torch.cat([mask, torch.zeros(2, 2, dtype=torch.long)], dim=1)
    torch.testing.assert_close(distance(*padded, mask=wider), expected)
    torch.testing.assert_close(distance(8 * student, 8 * teacher, mask=mask), expected)


def test_other_hidden_sizes_are_refused():
    with pytest.raises(ModelError, match=r"^hidden states of 3 features cannot be compared with 4 of the dense model;"):
        distance(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4), mask=torch.ones(1, 2))


def test_agreement_costs_nothing_and_disagreement_does():
    student = tiny_model(seed=1)
    assert loss_of(student, tiny_model(seed=1)) == pytest.approx(0.0, abs=1e-6)
    one, two = (loss_of(student, tiny_model(seed=2), weight=weight) for weight in (1.0, 2.0))
    assert one > 0.01
    assert two == pytest.approx(2 * one, rel=1e-4)


def test_the_mapping_decides_which_layers_are_compared():
    student, teacher = tiny_model(layers=2), tiny_model(layers=3)
    with torch.no_grad():  # the student is the teacher without its middle layer, and its last layer never saw that one
        for name, module in teacher.bert.encoder.layer[0].named_parameters():
            student.bert.encoder.layer[0].get_parameter(name).copy_(module)
        student.bert.embeddings.load_state_dict(teacher.bert.embeddings.state_dict())
    assert loss_of(student, teacher, layers=(0, 0)) < loss_of(student, teacher, layers=(1, 1))


def test_another_number_of_layers_is_refused():
    with pytest.raises(ModelError, match="hidden states of 3 layers were matched to 2 layers of the dense model"):
        loss_of(tiny_model(layers=3), tiny_model(layers=3))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5)), ((0, 2, 3), (1, 2, 5)), ((1, 5), (4, 5)), ((0,), (5,))],
)
def test_layer_mapping(kept, expected):
    assert layer_mapping(kept, num_layers=6) == expected


def test_a_vocabulary_that_shrank_is_translated_for_the_teacher():
    student, teacher, batch = tiny_model(), tiny_model(), first_batch()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # the student's row i is the teacher's row order[i]
        student.get_input_embeddings().weight.copy_(teacher.get_input_embeddings().weight[order])
    renamed = batch.with_ids(torch.argsort(order)[batch.input_ids])
    assert loss_of(student, teacher, batch=renamed, token_ids=order) == pytest.approx(0.0, abs=1e-6)
    assert loss_of(student, teacher, batch=renamed) > 0.01


def test_features_that_were_kept_are_compared():
    batch, teacher = first_batch(), tiny_model()
    outputs = outputs_of(teacher, batch, precision="fp32", hidden_states=True)
    features = torch.tensor([1, 4, 7])
    narrow = type(outputs)(outputs.logits, tuple(state[..., features] for state in outputs.hidden_states))
    objective = HiddenStates(
        base=LabelLoss(0.0), teacher=teacher, layers=(0, 1), weight=1.0, precision="fp32", features=features
    )
    difference = objective(narrow, batch) - LabelLoss(0.0)(outputs, batch)
    assert difference.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_brings_the_student_closer_and_leaves_the_teacher(precision):
    fix_randomness(seed=0, num_threads=1)
    teacher, student = tiny_model(seed=2), tiny_model(seed=1)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    start = loss_of(student, teacher)
    objective = HiddenStates(base=LabelLoss(0.0), teacher=teacher, layers=(0, 1), weight=10.0, precision=precision)
    plan = Plan(title="test", settings=SETTINGS, seed=0, precision=precision, best_by="loss")
    train_(student, train=ROWS, validation=tiny_rows(8, seed=1), objective=objective, plan=plan)
    assert loss_of(student, teacher) < 0.5 * start
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
