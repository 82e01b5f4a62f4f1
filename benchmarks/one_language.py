"""What is left of a multilingual model's vocabulary in one language? ``python -m benchmarks.one_language``.

A Unigram vocabulary, sentencepiece's kind, is trained on texts of many scripts, and cut to those of one language; the
model has the shape of multilingual MiniLM (12 layers of 384 features) and random weights.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast, XLMRobertaConfig

from benchmarks.report import environment, show, write_results
from secateur.budget.cost import cost_of
from secateur.models.vocabulary import covering, cut_vocabulary_

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_HELD_OUT = 10
"""Every tenth text of the language is looked at and counts nothing."""
_COMPARED = 50


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of a folder: lines of .txt files, and every string of .json, .jsonl and .yml files."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.suffix not in (".txt", ".json", ".jsonl", ".yml"):
            continue
        content = file.read_text(encoding="utf-8")
        if file.suffix == ".txt":
            found: Any = content.splitlines()
        elif file.suffix == ".yml":
            found = yaml.safe_load(content)
        else:
            found = [json.loads(line) for line in (content.splitlines() if file.suffix == ".jsonl" else [content])]
        yield from (text for text in _strings(found) if len(text) >= _HELD_OUT)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield " ".join(value.split())
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def trained(texts: Sequence[str], *, size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer of XLM-RoBERTa's kind."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=size, special_tokens=_SPECIAL, unk_token="<unk>", show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", mask_token="<mask>", **names)


def cut_to(
    tokenizer: PreTrainedTokenizerFast,
    used: Sequence[str],
    held_out: Sequence[str],
    *,
    min_count: int,
    layers: int = 12,
) -> dict[str, float]:
    """Cut the vocabulary to what texts use, and say what it is worth on others of their language."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=layers, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=514, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(config).eval()
    dense = cost_of(model)
    ids = [number for row in tokenizer(list(used)).input_ids for number in row]
    kept = covering(np.bincount(ids, minlength=len(tokenizer)).astype(np.int64), tokenizer, min_count=min_count)
    before, whole = [], [tokenizer(text).input_ids for text in held_out]
    for row in whole[:_COMPARED]:
        with torch.inference_mode():
            before.append(model(input_ids=torch.tensor([row])).logits)
    cut = cut_vocabulary_(model, tokenizer, kept)
    rows = [cut(text).input_ids for text in held_out]
    same = [
        cut.convert_ids_to_tokens(new) == tokenizer.convert_ids_to_tokens(old)
        for new, old in zip(rows, whole, strict=True)
    ]
    for row, alike, expected in zip(rows, same, before, strict=False):
        with torch.inference_mode():
            assert not alike or torch.equal(model(input_ids=torch.tensor([row])).logits, expected)
    back, plain = (one.batch_decode(ids, skip_special_tokens=True) for one, ids in ((cut, rows), (tokenizer, whole)))
    unknown = tokenizer.unk_token_id
    return {
        "min_count": min_count,
        "tokens": len(cut),
        "params": cost_of(model).params,
        "of_dense": cost_of(model).params / dense.params,
        "same_tokens": float(np.mean(same)),
        "longer": sum(map(len, rows)) / sum(map(len, whole)),
        "read_back_as_before": float(np.mean([a == b for a, b in zip(back, plain, strict=True)])),
        "unknown_before": sum(row.count(unknown) for row in whole),
        "unknown": sum(row.count(cut.unk_token_id) for row in rows),
    }


def _shown(row: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"{row['min_count']} times",
        f"{row['tokens']}",
        f"{row['params'] / 1e6:.1f} M",
        f"{row['of_dense']:.0%}",
        f"{row['same_tokens']:.1%}",
        f"{row['longer']:.3f}x",
        f"{row['read_back_as_before']:.2%}",
        f"{row['unknown']} (before {row['unknown_before']})",
    )


@click.command(help=__doc__)
@click.option(
    "--mixed", multiple=True, required=True, type=click.Path(exists=True, path_type=Path), help="Texts of many scripts."
)
@click.option("--language", required=True, type=click.Path(exists=True, path_type=Path), help="Texts of one language.")
@click.option("--tokens", default=32_000, show_default=True, help="Of the whole vocabulary.")
@click.option("--out", type=click.Path(path_type=Path), help="File of the result.")
def main(mixed: tuple[Path, ...], language: Path, tokens: int, out: Path | None) -> None:
    """Train, cut, compare."""
    own = list(dict.fromkeys(texts_of(language)))
    used, held_out = [text for n, text in enumerate(own) if n % _HELD_OUT], own[::_HELD_OUT]
    tokenizer = trained([*used, *(text for path in mixed for text in texts_of(path))], size=tokens)
    rows = [cut_to(tokenizer, used, held_out, min_count=count) for count in (1, 2, 5)]
    machine = environment()
    names = ("at least", "tokens", "parameters", "of dense", "cut as before", "length", "read back", "unknown")
    show(
        f"{len(tokenizer)} tokens of many scripts, cut to those of {language.name}; {len(held_out)} other texts of it",
        columns=names,
        rows=[_shown(row) for row in rows],
        notes=(
            "read back: decode(encode(text)) is what it was",
            "what is cut as before has the same logits to the bit",
        ),
        machine=machine,
    )
    write_results("one_language", {"rows": rows, "environment": machine}, out=out)


if __name__ == "__main__":
    main()
