"""Models that fit a tokenizer: built for one from nothing, or given room for its new tokens."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.files import write_json
from secateur.models.folders import CONFIG

_SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


@contextmanager
def scratch_folder(base: Path, tokenizer: PreTrainedTokenizerBase) -> Iterator[Path]:
    """Yield a folder whose config is that of ``base`` with the vocabulary of a trained tokenizer."""
    values = json.loads((base / CONFIG).read_text(encoding="utf-8"))
    values["vocab_size"] = len(tokenizer)
    values |= {name: getattr(tokenizer, name) for name in _SPECIAL_IDS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_json(folder / CONFIG, values)
        yield folder


@torch.no_grad()
def with_room_for_(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> PreTrainedModel:
    """Give a model an embedding for every token of its tokenizer, in place; a new one starts as the end of a text.

    Raises:
        ModelError: the model reads fewer tokens than ``max_length``.
    """
    limit = family_of(model).max_tokens(model.config)
    if max_length > limit:
        raise ModelError(
            f"baseline.max_length={max_length} is more than baseline.model can read ({limit} tokens); "
            f"ask for {limit} or less"
        )
    before = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > before:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            if table is not None:
                table.weight[before:] = table.weight[tokenizer.eos_token_id]
    return model
