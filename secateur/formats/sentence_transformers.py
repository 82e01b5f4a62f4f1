"""A pruned embedding model in sentence-transformers: its module ``Transformer``, around a model with its own widths.

``modules.json`` of a pruned model names the class here, which the installed package brings: no code lies in a folder.
Sentence-transformers 6 asks to trust remote code before it imports a class of another package, so
``as_sentence_transformer`` puts the modules together itself.
"""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling
from sentence_transformers.models import Transformer as PlainTransformer
from transformers import PreTrainedModel

from secateur.errors import ConfigError, ModelError
from secateur.models import checkpoint
from secateur.models.construction import read_config
from secateur.models.folders import require_model_folder
from secateur.models.heads import VECTORS, head_of
from secateur.models.pooling import pooling_of, states_again_

_OF_THE_HUB = (
    "subfolder",
    "token",
    "cache_dir",
    "revision",
    "local_files_only",
    "trust_remote_code",
    "use_safetensors",
)


class Transformer(PlainTransformer):  # type: ignore[misc]  # sentence-transformers is not there for mypy
    """Reads the encoder by ``secateur.load``: widths per layer, digests of a card."""

    def _load_model(self, model_name_or_path: str, *_: Any, **asked: Any) -> PreTrainedModel:
        if self.backend != "torch":
            raise ConfigError(
                f"backend={self.backend!r}: {model_name_or_path} is read by secateur, with torch alone; "
                "`secateur export --to onnx` writes a graph"
            )
        asked = {name: value for name, value in asked.items() if value is not None and name not in _OF_THE_HUB}
        dtype, attention = asked.pop("dtype", asked.pop("torch_dtype", None)), asked.pop("attn_implementation", None)
        if asked:
            raise ConfigError(f"model_kwargs: {min(asked)} has no place here; dtype and attn_implementation have")
        model = checkpoint.load(require_embedding_model(Path(model_name_or_path)))
        states_again_(model)
        if attention is not None:
            model.set_attn_implementation(attention)
        if dtype not in (None, "auto"):
            model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        return model


def require_embedding_model(folder: Path) -> Path:
    """Return the folder when it holds an embedding model.

    Raises:
        CheckpointError: it holds no model.
        ModelError: it holds another one.
    """
    config = read_config(require_model_folder(folder))
    if head_of(config) is not VECTORS:
        name = str((config.architectures or [config.model_type])[0])
        raise ModelError(f"{folder} holds a {name}, not an embedding model; secateur.load reads it")
    return folder


def as_sentence_transformer(folder: Path, **options: Any) -> Any:
    """Put the modules of a folder together.

    Args:
        folder: of an embedding model, pruned or dense.
        options: what ``SentenceTransformer`` takes, ``device`` and ``prompts`` among it.

    Raises:
        CheckpointError, ModelError: as ``checkpoint.load`` does, or it is no embedding model.
    """
    encoder = Transformer.load(str(require_embedding_model(folder)), local_files_only=True)
    config = encoder.auto_model.config
    pooling = Pooling(int(config.hidden_size), pooling_mode=pooling_of(config))
    return SentenceTransformer(modules=[encoder, pooling, Normalize()], **options)
