"""Small tokenizers of the kinds that models of the supported families come with, trained on four scripts."""

import json
from collections.abc import Callable, Mapping
from functools import cache

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, XLMRobertaTokenizer

TEXTS = (
    "Good great lovely hotel in Berlin, don't!",
    "Das Zimmer war großartig, das Essen schlecht",
    "房间很好, 服务很差",
    "прекрасно, но ужасно",
    "fine 🙂 or 😡 in 2024",
)
CORPUS = [text for text in TEXTS for _ in range(20)]


@cache
def word_piece() -> PreTrainedTokenizerBase:
    """BERT's kind: ``##`` inside a word."""
    made = Tokenizer(kinds.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, mask_token="[MASK]", model_max_length=32, **names)


@cache
def byte_level() -> PreTrainedTokenizerBase:
    """The kind of GPT-2, Qwen and RoBERTa: an alphabet of bytes."""
    made = Tokenizer(kinds.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    made.train_from_iterator(CORPUS, trainer)
    names = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|end|>")
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=32, **names)


@cache
def byte_fallback() -> PreTrainedTokenizerBase:
    """The kind of Llama 2, Mistral and Gemma: characters outside the vocabulary are written as ``<0xNN>``."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made = Tokenizer(kinds.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    ascii_words = [" ".join(word for word in text.split() if word.isascii()) for text in CORPUS]
    made.train_from_iterator(ascii_words, trainers.BpeTrainer(vocab_size=360, special_tokens=special))
    # As published: bytes are entries of the vocabulary and no special tokens, and words are not split off.
    values = json.loads(made.to_str()) | {"pre_tokenizer": None}
    values["added_tokens"] = [token for token in values["added_tokens"] if not token["content"].startswith("<0x")]
    made = Tokenizer.from_str(json.dumps(values))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(steps)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side="left", model_max_length=32, **names)


@cache
def end_of_word() -> PreTrainedTokenizerBase:
    """The kind of the first GPT and of XLM: ``</w>`` at the end of a word."""
    made = Tokenizer(kinds.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<pad>", "<unk>"], end_of_word_suffix="</w>")
    made.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", model_max_length=32)


@cache
def unigram() -> PreTrainedTokenizerBase:
    """The kind of XLM-RoBERTa and CamemBERT: sentencepiece, the likeliest pieces of a word."""
    made = Tokenizer(kinds.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    vocabulary = dict(json.loads(made.to_str())["model"]["vocab"])
    # A corpus of five texts leaves few pieces but characters; published vocabularies are full of words.
    vocabulary |= {f"▁{word}": -7.0 for text in TEXTS for word in text.split()} | {"<mask>": 0.0}
    return XLMRobertaTokenizer(vocab=[*vocabulary.items()], model_max_length=32)


TOKENIZERS: Mapping[str, Callable[[], PreTrainedTokenizerBase]] = {
    "word pieces": word_piece,
    "byte-level": byte_level,
    "byte fallback": byte_fallback,
    "end of word": end_of_word,
    "unigram": unigram,
}
