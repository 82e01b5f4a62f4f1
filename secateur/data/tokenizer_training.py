"""Tokenizers that are trained on the training rows, for models that start from nothing."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from secateur.config.baseline import TokenizerSection
from secateur.errors import ConfigError

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
_SPECIAL = (PAD, UNKNOWN, BEGIN, END)
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))


def control_token(label: str) -> str:
    """Return the token that tells a generator the label of a text."""
    return f"<|{label}|>"


def controlled_(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> PreTrainedTokenizerBase:
    """Add the control tokens of ``labels`` to a tokenizer that lacks them, in place."""
    known = tokenizer.get_vocab()
    missing = [token for token in map(control_token, labels) if token not in known]
    if missing:
        tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
    return tokenizer


def train_tokenizer(
    texts: Iterable[str], settings: TokenizerSection, *, labels: Sequence[str], max_length: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer; every text comes back from its tokens as it was, whatever its script.

    ``bytes`` is byte-level BPE (Radford et al. 2019, section 2.2), ``characters`` has a token for every character that
    is frequent enough and writes the others as the bytes of their UTF-8 form. A text starts with ``<s>`` and ends
    with ``</s>``; neither knows of spaces between words.

    Args:
        texts: cleaned training rows.
        settings: kind, size, and what is too rare.
        labels: names that get a control token.
        max_length: longest text of the model, tokens.

    Raises:
        ConfigError: ``vocab_size`` has no room for what every vocabulary holds.
    """
    special = [*_SPECIAL, *(control_token(label) for label in labels)]
    room = settings.vocab_size - len(special) - len(_BYTES)
    if room < 1:
        needed = len(special) + len(_BYTES) + 1
        raise ConfigError(
            f"baseline.tokenizer.vocab_size={settings.vocab_size} has no room for {len(special)} special tokens and "
            f"256 bytes; ask for {needed} or more"
        )
    trained = (
        _characters(texts, settings, special, room)
        if settings.kind == "characters"
        else _bytes(texts, settings, special)
    )
    begin, end = special.index(BEGIN), special.index(END)
    trained.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, begin), (END, end)]
    )
    trained.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=special[len(_SPECIAL) :],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def _characters(texts: Iterable[str], settings: TokenizerSection, special: Sequence[str], room: int) -> Tokenizer:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    # The library's trainer orders equal counts as its hash table does; this order is the same in every process.
    frequent = sorted(
        (character for character in counts if counts[character] >= settings.min_count), key=lambda c: (-counts[c], c)
    )
    vocabulary = {token: index for index, token in enumerate([*special, *_BYTES, *frequent[:room]])}
    trained = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, byte_fallback=True))
    trained.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return trained


def _bytes(texts: Iterable[str], settings: TokenizerSection, special: Sequence[str]) -> Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_count,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    return trained
