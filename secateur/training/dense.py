"""What the dense model is made of: its tokenizer, and the model before it is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.baseline import BaselineSection
from secateur.data.documents import read_texts
from secateur.data.encoding import read_long_texts_
from secateur.data.provenance import read_provenance
from secateur.data.tokenizer_training import controlled_, train_tokenizer
from secateur.kinds.base import Kind
from secateur.models.checkpoint import load_base, load_tokenizer
from secateur.readers.pairs import texts_in
from secateur.training.scratch import scratch_folder, with_room_for_


def tokenizer_of(
    base: Path, train: Path, baseline: BaselineSection, *, labels: Sequence[str]
) -> PreTrainedTokenizerBase:
    """Train a tokenizer on the texts of ``train``, or take the base's; either knows the control tokens of ``labels``.

    What it reads of long texts goes with it from here on.

    Raises:
        ConfigError: the tokenizer has no room.
    """
    if baseline.tokenizer.kind == "model":
        tokenizer = controlled_(load_tokenizer(base), labels)
    else:
        texts = (text for row in read_texts(train, labels=()) for text in texts_in(row.text))
        tokenizer = train_tokenizer(texts, baseline.tokenizer, labels=labels, max_length=baseline.max_length)
    read_long_texts_(tokenizer, baseline.long_texts, max_windows=baseline.max_windows)
    return tokenizer


def model_for(
    base: Path, tokenizer: PreTrainedTokenizerBase, *, kind: Kind, labels: Sequence[str], baseline: BaselineSection
) -> PreTrainedModel:
    """Build the model that is trained; a vocabulary of one's own decides the size of the embeddings.

    Raises:
        ModelError: the base cannot be used.
        ConfigError: texts are longer than it can read.
    """
    head: dict[str, Any] = {"labels": kind.outputs(labels), "problem_type": kind.problem_type}
    if baseline.tokenizer.kind == "model":
        model = load_base(base, **head, scratch=read_provenance(base)["kind"] == "scratch")
    else:
        with scratch_folder(base, tokenizer) as folder:
            model = load_base(folder, **head, scratch=True)
    return with_room_for_(model, tokenizer, max_length=baseline.max_length)
