"""A generator reads and writes the same in every runtime, whatever its widths."""

import pytest
import torch

from secateur.data.documents import Document
from secateur.evaluation.perplexity import document_losses
from secateur.inference.decoding import Sampling, decode
from secateur.inference.language_model import OnnxLanguageModel, TorchLanguageModel
from tests.exported_generators import CUTS, exported_generator

IDS = torch.tensor([[2, 9, 7, 5, 11, 3], [2, 4, 4, 8, 6, 10]])


@pytest.fixture(scope="module", params=CUTS)
def forms(request):
    """The same cut model in both runtimes."""
    model, exported = exported_generator(request.param)
    return model, {"torch": TorchLanguageModel(model), "onnx": OnnxLanguageModel(exported)}


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_reading_in_pieces_is_reading_at_once(forms, runtime):
    model, loaded = forms
    with torch.inference_mode():
        whole = model(input_ids=IDS).logits
    read = loaded[runtime].open()
    for start, end in ((0, 2), (2, 3), (3, 6)):
        tried = read(IDS[:, start:end], keep=False)
        assert torch.equal(read(IDS[:, start:end]), tried), "what was not kept is forgotten"
        assert torch.allclose(tried, whole[:, end - 1], atol=1e-4)


def test_texts_and_losses_are_those_of_torch(forms):
    _, loaded = forms
    sampling = Sampling(12, temperature=1.0, top_p=0.9, seed=3)
    torch_texts, onnx_texts = (decode(model, IDS[:, :2], sampling=sampling, end=None) for model in loaded.values())
    assert onnx_texts == torch_texts
    documents = [Document((2,), (9, 7, 5), 3), Document((2,), (4, 4, 8, 6, 10, 12, 3), 7)]
    expected, found = (document_losses(model, documents, context=6, batch_size=2) for model in loaded.values())
    assert found.losses == pytest.approx(expected.losses, abs=1e-4)
