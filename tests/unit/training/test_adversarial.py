import torch

from secateur.training.adversarial import Perturbation, fast_gradient
from secateur.training.batches import batches_of
from secateur.training.objectives import LabelLoss, outputs_of
from tests.unit.pruning.material import tiny_model, tiny_rows

BATCH = next(batches_of(tiny_rows(12), batch_size=12, pad_token_id=0))


def loss_of(model) -> torch.Tensor:
    return LabelLoss(0.0)(outputs_of(model, BATCH, precision="fp32"), BATCH)


def test_by_hand():
    gradient = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    expected = torch.tensor([[[1.2, 0.0], [0.0, 1.6]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(fast_gradient(gradient, epsilon=2.0), expected)


def test_the_norm_is_epsilon_for_every_row_whatever_the_scale():
    gradient = torch.randn(5, 3, 4) * torch.tensor([1e-12, 1e-3, 1.0, 1e3, 1e12]).view(5, 1, 1)
    norms = fast_gradient(gradient, epsilon=0.3).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((5,), 0.3))


def test_it_raises_the_loss_more_than_any_random_direction():
    model = tiny_model()
    table = model.get_input_embeddings()
    epsilon = 1e-2
    perturbation = Perturbation(model, epsilon=epsilon)
    with perturbation.recorded():
        clean = loss_of(model)
        clean.backward()
    with perturbation.applied():
        raised = (loss_of(model) - clean).item()
    torch.manual_seed(0)
    for _ in range(20):
        shift = fast_gradient(torch.randn(*BATCH.input_ids.shape, 16), epsilon=epsilon)
        handle = table.register_forward_hook(lambda _, __, output, shift=shift: output + shift)
        assert (loss_of(model) - clean).item() < raised
        handle.remove()
    assert torch.equal(loss_of(model), clean)


def test_the_rise_is_epsilon_times_the_norm_of_the_gradient():
    # To first order the loss of a row rises by epsilon * ||g||, and padding has no gradient.
    model = tiny_model()
    embedded = []
    handle = model.get_input_embeddings().register_forward_hook(lambda _, __, output: embedded.append(output))
    gradient = torch.autograd.grad(loss_of(model), embedded[0])[0]
    handle.remove()
    assert gradient[BATCH.attention_mask == 0].abs().max() == 0
    epsilon = 1e-3
    perturbation = Perturbation(model, epsilon=epsilon)
    with perturbation.recorded():
        clean = loss_of(model)
        clean.backward()
    with perturbation.applied():
        raised = loss_of(model) - clean
    torch.testing.assert_close(raised, epsilon * gradient.flatten(1).norm(dim=1).sum(), rtol=2e-2, atol=0)


def test_a_frozen_table_gets_a_gradient_on_its_output_only():
    model = tiny_model()
    model.bert.embeddings.requires_grad_(False)
    perturbation = Perturbation(model, epsilon=0.1)
    with perturbation.recorded():
        clean = loss_of(model)
        clean.backward()
    with perturbation.applied():
        assert loss_of(model) > clean
    assert model.get_input_embeddings().weight.grad is None
