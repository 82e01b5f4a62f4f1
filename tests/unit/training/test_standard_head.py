"""The head of a model that tells numbers, while it learns and afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from secateur.data.tokens import TokenRows, from_lists, read_tokens, write_tokens
from secateur.data.units import Units
from secateur.inference.precision import exact_head
from secateur.models.heads import last_of_head
from secateur.training.batches import batches_of
from secateur.training.data_parallel import _counted
from secateur.training.objectives import forward, loss_of, outputs_of
from secateur.training.standard_head import standard_head, start_in_
from tests.tiny_models import tiny_config

UNITS = Units(50_000.0, 4096.0)


def numbered(count: int = 8) -> TokenRows:
    ids = [[1, 2 + number, 3, 4] for number in range(count)]
    labels = np.linspace(-100.0, 100_000.0, count)
    return replace(from_lists(ids, labels=labels, kind="regression"), units=UNITS)


def tells_numbers(family: str) -> PreTrainedModel:
    config = tiny_config(family)
    config.id2label, config.label2id = {0: "number"}, {"number": 0}
    config.architectures = ["ForSequenceClassification"]
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.fixture
def model() -> PreTrainedModel:
    return tells_numbers("bert")


def test_units_are_a_power_of_two_next_to_the_spread() -> None:
    values = np.random.default_rng(0).normal(7.0, 100.0, 1000)
    units = Units.of(values)
    assert units.scale == 128.0 and units.mean == pytest.approx(values.mean())
    assert Units.of(np.full(3, 2.0)) == Units(2.0, 1.0)
    assert abs(units.standard(values).mean()) < 1e-9 and 0.7 < units.standard(values).std() < 1.42


def test_files_batches_and_parts_of_rows_keep_the_units(tmp_path: object) -> None:
    rows = numbered()
    file = tmp_path / "rows.arrow"  # type: ignore[operator]
    write_tokens(rows, file)
    assert read_tokens(file).units == rows.take([1, 0]).units == UNITS
    batch = next(batches_of(rows, batch_size=8, pad_token_id=0))
    part = batch.part(1, of=2)
    assert part.units == UNITS
    assert _counted(batch) == 8, "-100 is a number, and no token that is not to be predicted"


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_head_learns_standard_numbers_and_says_those_of_the_rows(family: str) -> None:
    model = tells_numbers(family)
    start_in_(model, UNITS)
    last = last_of_head(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    [batch] = batches_of(numbered(), batch_size=8, pad_token_id=0)
    with torch.no_grad():
        said = forward(model, batch, precision="fp32")
        with standard_head(model, UNITS):
            assert torch.equal(last.weight * UNITS.scale, before[f"{_name_of(model)}.weight"])
            assert last.bias is None or float(last.bias.abs().max()) < 1.0
            during = forward(model, batch, precision="fp32")
        after = forward(model, batch, precision="fp32")
    assert torch.allclose(during, said, rtol=1e-5, atol=0.1)
    assert torch.allclose(after, said, rtol=1e-6, atol=0.05)
    assert torch.equal(last.weight, before[f"{_name_of(model)}.weight"]), "a power of two rounds nothing"


def _name_of(model: PreTrainedModel) -> str:
    return next(name for name, module in model.named_modules() if module is last_of_head(model))


def test_the_loss_of_a_fresh_head_is_of_order_one(model: PreTrainedModel) -> None:
    start_in_(model, UNITS)
    rows = replace(numbered(), labels=np.array([50_000.0 + 4096.0 * (-1) ** n for n in range(8)]))
    [batch] = batches_of(rows, batch_size=8, pad_token_id=0)
    with torch.no_grad():
        loss = float(loss_of(outputs_of(model, batch, precision="fp32"), batch))
    assert 0.7 < loss < 1.5


def test_numbers_keep_their_digits_where_products_are_narrow(model: PreTrainedModel) -> None:
    start_in_(model, Units(1001.5, 1.0))
    [batch] = batches_of(numbered(), batch_size=8, pad_token_id=0)
    with torch.no_grad():
        exact, narrow = (forward(model, batch, precision=p) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(**batch.inputs()).logits.float()
    assert float((exact - narrow).abs().max()) < 0.02 < float((exact - rounded).abs().max())
    with exact_head(model, "bf16"):
        pass
    assert not last_of_head(model)._forward_hooks
