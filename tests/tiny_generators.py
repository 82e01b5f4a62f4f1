"""A tiny random generator with a tokenizer of characters and control tokens, as a run would leave it."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

CONTROLS = {"negative": "<|negative|>", "positive": "<|positive|>"}
ALPHABET = "好坏酒店服务房间很太不这个书的了，。!abcdefgh"
CONTEXT = 24


def character_tokenizer(alphabet: str = ALPHABET) -> PreTrainedTokenizerFast:
    """One token per character."""
    special = ["<|pad|>", "<|unknown|>", "<|begin|>", "<|end|>", *CONTROLS.values()]
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unknown|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        unk_token="<|unknown|>",
        bos_token="<|begin|>",
        eos_token="<|end|>",
        extra_special_tokens=list(CONTROLS.values()),
    )


def llama(vocab_size: int, *, seed: int = 0, layers: int = 2) -> PreTrainedModel:
    """4 query heads in 2 groups of 8 features, 48 neurons; weights are drawn wide, so that tokens differ."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def write_generator(folder: Path, *, seed: int = 0, **card: Any) -> Path:
    """Save a random generator as a checkpoint."""
    from secateur.models.checkpoint import save
    from secateur.models.surgery import widths_of

    tokenizer = character_tokenizer()
    model = llama(len(tokenizer), seed=seed)
    widths = widths_of(model).as_dict()
    values = {
        "stage": "baseline",
        "key": f"key-{seed}",
        "task": "generation",
        "state": "dense",
        "parameters": {},
        "inputs": {},
        "seed": 0,
        "fingerprint": {},
        "labels": list(CONTROLS),
        "control": CONTROLS,
        "max_length": CONTEXT,
        "text_rules": None,
        "widths": widths,
        "dense_widths": widths,
        "asked": None,
        "achieved": None,
        "metrics": {"validation_perplexity": 20.0},
        "accepted": True,
        "stopped": False,
        "reason": None,
        "tried": None,
        **card,
    }
    save(model, tokenizer, folder, card=values, check_reload=False)
    return folder
