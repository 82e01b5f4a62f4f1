"""A random embedding model as sentence-transformers saves it."""

import json
from pathlib import Path
from typing import Any

from tests.tiny import write_bert


def write_embedder(folder: Path, *, pooling: str = "mean_tokens", normalizes: bool = True, **sizes: Any) -> Path:
    """Write the folder; its vectors differ from text to text because its embeddings are large."""
    from safetensors.torch import load_file, save_file

    write_bert(folder, **sizes)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.dim() == 2:
            tensor.mul_(8.0 if "encoder" in name else 4.0)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    types = ["Transformer", "Pooling", *(["Normalize"] if normalizes else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": place, "name": str(place), "path": paths[place], "type": f"sentence_transformers.models.{name}"}
        for place, name in enumerate(types)
    ]
    modes = dict.fromkeys(("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"), False)
    flags = {f"pooling_mode_{name}": value for name, value in (modes | {pooling: True}).items()}
    write = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": sizes.get("hidden", 32), **flags},
        "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": False},
    }
    for name in paths[1 : len(types)]:
        (folder / name).mkdir()
    for name, content in write.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder
