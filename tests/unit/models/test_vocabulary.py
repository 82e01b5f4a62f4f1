import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE, WordLevel
from transformers import (
    AutoModelForSequenceClassification,
    BertTokenizer,
    CamembertTokenizer,
    DebertaV2Tokenizer,
    MPNetTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from secateur.data.encoding import encode
from secateur.data.tokens import from_lists
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.models.vocabulary import covering, cut_vocabulary_, remap, remapping
from secateur.readers.pairs import as_text
from tests.tiny_models import ENCODER_TABLES, MODEL_TYPES, tiny_config

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = list("abdeghilnoprsty")
PIECES = ["play", "playing", "the", "there", "good", "bad", "##ing", "##ings", "##s", "##pl", "##lay", "##oo"]
MERGES = [
    ("h", "e"), ("Ġ", "t"), ("Ġt", "he"), ("i", "n"), ("in", "g"), ("o", "o"), ("Ġ", "g"), ("Ġg", "oo"),
    ("Ġgoo", "d"), ("a", "y"), ("Ġ", "p"), ("Ġp", "l"), ("Ġpl", "ay"), ("Ġplay", "ing"), ("b", "a"), ("ba", "d"),
]  # fmt: skip
TEXTS = st.text(st.sampled_from([*LETTERS, " "]), max_size=30) | st.lists(
    st.sampled_from(["play", "playing", "playings", "the", "there", "good", "bad", "bads", "plays", "ing"]), max_size=6
).map(" ".join)


def word_piece() -> PreTrainedTokenizerBase:
    tokens = [*SPECIAL, *LETTERS, *PIECES[:6], *(f"##{letter}" for letter in LETTERS if letter != "s"), *PIECES[6:]]
    return BertTokenizer(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=32)


def byte_pairs() -> PreTrainedTokenizerBase:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = [left + right for left, right in MERGES]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *alphabet, *merged, "<mask>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return RobertaTokenizer(vocab=vocabulary, merges=MERGES, model_max_length=32)


def pieces(kind: type[PreTrainedTokenizerBase], *special: str) -> PreTrainedTokenizerBase:
    """Sentencepiece: words are likelier than the letters that spell them."""
    words = ["play", "playing", "the", "there", "good", "bad"]
    likely = dict.fromkeys(["▁", *LETTERS], -4.0) | {f"▁{word}": -6.0 for word in words}
    likely |= {"ing": -5.0, "ings": -5.5, "oo": -5.0, "<lowest>": -30.0}
    vocabulary = [*((token, 0.0) for token in special[:-1]), *likely.items(), (special[-1], 0.0)]
    return kind(vocab=vocabulary, model_max_length=32)


def pieces_without_class() -> PreTrainedTokenizerBase:
    """Sentencepiece, under the class that transformers reads the tokenizer of this family as."""
    made = pieces(XLMRobertaTokenizer, "<s>", "<pad>", "</s>", "<unk>", "<mask>").backend_tokenizer
    names = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    named = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=32, **named)


def mpnet_pieces() -> PreTrainedTokenizerBase:
    """BERT's pieces between RoBERTa's special tokens."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *word_piece().get_vocab(), "<mask>"]
    return MPNetTokenizer(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=32)


def late_specials() -> PreTrainedTokenizerBase:
    """ModernBERT's: bytes, tokens of several spaces that are no special ones, and special tokens behind all others."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(left + right for left, right in MERGES)]
    made = Tokenizer(BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=MERGES))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_tokens([AddedToken(" " * count, normalized=True) for count in (4, 2)])
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    made.add_special_tokens(special)
    ends = [(token, made.token_to_id(token)) for token in special[1:3]]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {f"{token[1:-1].lower()}_token": token for token in special}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=32, **names)


TOKENIZER_OF = {
    "modernbert": late_specials,
    "data2vec-text": byte_pairs,
    "mpnet": mpnet_pieces,
    "roberta": byte_pairs,
    "roberta-prelayernorm": byte_pairs,
    "xlm-roberta-xl": pieces_without_class,
    "xlm-roberta": lambda: pieces(XLMRobertaTokenizer, "<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "camembert": lambda: pieces(
        CamembertTokenizer, "<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>"
    ),
    "deberta-v2": lambda: pieces(DebertaV2Tokenizer, "[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
}


@cache
def model_and_tokenizer(model_type: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    config = tiny_config(model_type)
    tokenizer = TOKENIZER_OF.get(model_type, word_piece)()
    config.vocab_size = len(tokenizer)
    if model_type == "modernbert":
        config.pad_token_id = tokenizer.pad_token_id
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    family_of(model).prepare_(model)
    return model.eval(), tokenizer


def fresh(model_type: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, tokenizer = model_and_tokenizer(model_type)
    return copy.deepcopy(model), tokenizer


def counts_of(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> np.ndarray:
    ids = [number for text in texts for number in tokenizer(text).input_ids]
    return np.bincount(ids, minlength=len(tokenizer)).astype(np.int64)


def kept_tokens(tokenizer: PreTrainedTokenizerBase, kept: np.ndarray) -> set[str]:
    return set(tokenizer.convert_ids_to_tokens(kept.tolist()))


def logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    rows = tokenizer(texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.inference_mode():
        return model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).logits


def test_word_pieces_that_cover_a_text():
    tokenizer = word_piece()
    counts = counts_of(tokenizer, ["the good playing", "the good", "the"])
    kept = covering(counts, tokenizer, min_count=2)
    characters = {*LETTERS, *(f"##{letter}" for letter in LETTERS)}
    assert kept_tokens(tokenizer, kept) == {*SPECIAL, *characters, "the", "good"}
    assert kept.tolist() == sorted(kept.tolist())
    once = covering(counts, tokenizer, min_count=1)
    assert kept_tokens(tokenizer, once) - kept_tokens(tokenizer, kept) == {"playing"}


def test_byte_pairs_take_along_what_they_are_merged_from():
    """`Ġgood` is (Ġgoo, d), (Ġg, oo), (Ġ, g), (o, o)."""
    tokenizer = byte_pairs()
    kept = kept_tokens(tokenizer, covering(counts_of(tokenizer, ["a good"]), tokenizer, min_count=1))
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    assert len(alphabet) == 256
    assert kept == {"<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet, "Ġgood", "Ġgoo", "Ġg", "oo"}


def test_characters_that_no_row_has_may_go():
    tokenizer = word_piece()
    counts = counts_of(tokenizer, ["the bad"])
    kept = kept_tokens(tokenizer, covering(counts, tokenizer, min_count=1, min_count_character=1))
    seen = set("thebad")
    assert kept == {*SPECIAL, "the", "bad", *seen & set(LETTERS), *(f"##{letter}" for letter in seen)}
    bytes_ = byte_pairs()
    everything = covering(counts_of(bytes_, ["x"]), bytes_, min_count=1, min_count_character=1)
    assert len(everything) == 256 + 5, "every text is made of bytes"


@pytest.mark.parametrize("model_type", ENCODER_TABLES)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, dropped=st.sets(st.sampled_from([*PIECES, *("".join(merge) for merge in MERGES)])))
def test_text_of_kept_tokens_stays_as_it_is(model_type, text, dropped):
    model, tokenizer = fresh(model_type)
    counts = np.ones(len(tokenizer), dtype=np.int64)
    ids = {token: number for token, number in tokenizer.get_vocab().items() if token.lstrip("▁") in dropped}
    counts[list(ids.values())] = 0
    kept = covering(counts, tokenizer, min_count=1)
    before = tokenizer.tokenize(text)
    assume(set(before) <= kept_tokens(tokenizer, kept) and tokenizer.unk_token not in before)
    expected = logits(model, tokenizer, [text])
    cut = cut_vocabulary_(model, tokenizer, kept)
    assert cut.tokenize(text) == before
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == len(kept) == len(cut)
    assert torch.equal(logits(model, cut, [text]), expected)


@pytest.mark.parametrize("model_type", ENCODER_TABLES)
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30) | TEXTS)
def test_other_text_is_spelled_with_what_is_left(model_type, text):
    """Nothing fails, and nothing becomes unknown that was not."""
    model, tokenizer = fresh(model_type)
    cut = cut_vocabulary_(model, tokenizer, covering(counts_of(tokenizer, ["the"]), tokenizer, min_count=1))
    before, after = tokenizer(text).input_ids, cut(text).input_ids
    assert after.count(cut.unk_token_id) <= before.count(tokenizer.unk_token_id)
    assert logits(model, cut, [text]).isfinite().all()


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_cut_vocabulary_saves_and_loads(model_type, tmp_path: Path):
    model, tokenizer = fresh(model_type)
    texts = ["the good playing", "bad", "there, 5 plays!", "ünï 好"]
    cut = cut_vocabulary_(model, tokenizer, covering(counts_of(tokenizer, texts[:1]), tokenizer, min_count=1))
    save(model, cut, tmp_path / "model", card={}, check_reload=False)
    loaded, back = load(tmp_path / "model"), load_tokenizer(tmp_path / "model")
    assert back(texts).input_ids == cut(texts).input_ids
    assert torch.equal(logits(loaded, back, texts), logits(model, cut, texts))
    assert cut.pad_token_id == loaded.config.pad_token_id == loaded.get_input_embeddings().padding_idx
    assert len(back) == loaded.config.vocab_size
    row = back("good").input_ids
    assert (row[0], row[-1]) == (back.cls_token_id, back.sep_token_id)
    save(loaded, back, tmp_path / "again", card={}, check_reload=False)
    for file in (tmp_path / "model").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_special_ids_of_the_config_follow():
    model, tokenizer = fresh("roberta")
    assert tokenizer.mask_token_id == 4 + 256 + len(MERGES)
    model.config.bos_token_id, model.config.eos_token_id = 0, tokenizer.mask_token_id
    model.config.decoder_start_token_id = tokenizer.get_vocab()["bad"]
    cut = cut_vocabulary_(model, tokenizer, covering(counts_of(tokenizer, ["the"]), tokenizer, min_count=1))
    assert (model.config.pad_token_id, model.config.bos_token_id) == (1, 0)
    assert model.config.eos_token_id == cut.mask_token_id < tokenizer.mask_token_id
    assert model.config.decoder_start_token_id is None, "that token is gone"


def test_pieces_of_a_token_that_went_know_where_they_stand():
    """``playing`` begins a word, ``##ings`` continues one: the longest matches differ."""
    model, tokenizer = fresh("bert")
    numbers = tokenizer.get_vocab()
    gone = {"playing", "##ings", "##lay"}
    kept = np.array(sorted(number for token, number in numbers.items() if token not in gone))
    cut = cut_vocabulary_(model, tokenizer, kept)
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))

    def spelled(token: str) -> list[str]:
        return cut.convert_ids_to_tokens(list(table.pieces[numbers[token]]))

    assert spelled("playing") == ["play", "##ing"]
    assert spelled("##ings") == ["##ing", "##s"]
    assert spelled("##lay") == ["##l", "##a", "##y"]
    assert spelled("good") == ["good"]
    row = tokenizer("playing playings good")
    rows = from_lists([row.input_ids, [numbers["bad"]], []], labels=[2, 0, 1], rows=[7, 8, 9])
    found = remap(rows, table)
    assert found.ids(0).tolist() == cut("playing playings good").input_ids
    assert cut.convert_ids_to_tokens(found.ids(1).tolist()) == ["bad"]
    assert found.lengths.tolist() == [len(row.input_ids) + 2, 1, 0]
    assert (found.labels.tolist(), found.rows.tolist()) == ([2, 0, 1], [7, 8, 9])
    short = remap(rows, table, max_length=len(row.input_ids))
    assert short.ids(0).tolist() == [*found.ids(0).tolist()[: len(row.input_ids) - 1], cut.sep_token_id]


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, dropped=st.sets(st.sampled_from(PIECES)))
def test_rows_of_word_pieces_become_what_the_text_would(text, dropped):
    """Also where a longer piece matches across the border of a token that went."""
    model, tokenizer = fresh("bert")
    kept = np.array(sorted(number for token, number in tokenizer.get_vocab().items() if token not in dropped))
    cut = cut_vocabulary_(model, tokenizer, kept)
    rows = from_lists([tokenizer(text).input_ids], labels=[0])
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))
    assert remap(rows, table).ids(0).tolist() == cut(text).input_ids


@settings(max_examples=40, deadline=None)
@given(first=TEXTS, second=TEXTS, dropped=st.sets(st.sampled_from(PIECES)))
def test_each_text_of_a_pair_is_spelled_by_itself(first, second, dropped):
    """And the longer one gives way where a row grows too long."""
    model, tokenizer = fresh("bert")
    kept = np.array(sorted(number for token, number in tokenizer.get_vocab().items() if token not in dropped))
    cut = cut_vocabulary_(model, tokenizer, kept)
    encoded = encode(tokenizer, [as_text([first, second])], max_length=256)
    rows = from_lists(encoded.ids, labels=[0], second=encoded.second)
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))
    expected = encode(cut, [as_text([first, second])], max_length=256)
    found = remap(rows, table)
    assert ([found.ids(0).tolist()], found.second.tolist()) == (expected.ids, expected.second)
    limit = max(5, len(encoded.ids[0]) - 2)
    short = remap(rows, table, max_length=limit)
    ids, begins = short.ids(0).tolist(), int(short.second[0])
    assert len(ids) == min(limit, len(expected.ids[0]))
    assert [place for place, number in enumerate(ids) if number == cut.sep_token_id] == [begins - 1, len(ids) - 1]
    tailed = remap(rows, table, max_length=limit, long_texts="head_tail")
    assert (tailed.ids(0).tolist(), tailed.second.tolist()) == (ids, [begins]), "pairs have no middle"
    left = np.array([begins, len(ids) - begins])
    lost = [expected.second[0], len(expected.ids[0]) - expected.second[0]] - left
    assert lost[left.argmin()] == 0 or abs(left[0] - left[1]) <= 1


def test_a_longer_piece_matches_across_the_border():
    """``p ##lay ##s`` without ``##lay``: ``##l ##ays``, because that piece is now within reach."""
    tokenizer = BertTokenizer(vocab={t: n for n, t in enumerate([*SPECIAL, "p", "##lay", "##s", "##l", "##ays"])})
    model, _ = fresh("bert")
    rows = from_lists([tokenizer("plays").input_ids], labels=[0])
    assert tokenizer.tokenize("plays") == ["p", "##lay", "##s"]
    cut = cut_vocabulary_(model, tokenizer, np.array([0, 1, 2, 3, 4, 5, 7, 8, 9]))
    found = remap(rows, remapping(tokenizer, cut, vocab_size=len(tokenizer))).ids(0).tolist()
    assert cut.convert_ids_to_tokens(found) == ["[CLS]", "p", "##l", "##ays", "[SEP]"]
    assert found == cut("plays").input_ids


def test_a_token_without_any_piece_is_unknown():
    model, tokenizer = fresh("bert")
    numbers = tokenizer.get_vocab()
    kept = np.array(sorted(number for token, number in numbers.items() if token not in {"bad", "##a", "a"}))
    cut = cut_vocabulary_(model, tokenizer, kept)
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))
    assert table.pieces[numbers["bad"]] == (cut.unk_token_id,)
    rows = from_lists([tokenizer("bads").input_ids], labels=[0])
    assert remap(rows, table).ids(0).tolist() == cut("bads").input_ids == [2, cut.unk_token_id, 3]


def test_byte_pairs_that_went_are_merged_as_far_as_they_go():
    model, tokenizer = fresh("roberta")
    kept = covering(counts_of(tokenizer, [" play"]), tokenizer, min_count=1)
    cut = cut_vocabulary_(model, tokenizer, kept)
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))
    pieces = cut.convert_ids_to_tokens(list(table.pieces[tokenizer.get_vocab()["Ġplaying"]]))
    assert pieces == ["Ġplay", "i", "n", "g"]


@pytest.mark.parametrize(
    ("model_type", "gone", "message"),
    [
        ("bert", "[SEP]", r"the special token '\[SEP\]' must be kept \(1 missing\)"),
        ("roberta", "<pad>", "the special token '<pad>' must be kept"),
    ],
)
def test_special_tokens_cannot_go(model_type, gone, message):
    model, tokenizer = fresh(model_type)
    kept = np.array(sorted(number for token, number in tokenizer.get_vocab().items() if token != gone))
    with pytest.raises(ModelError, match=message):
        cut_vocabulary_(model, tokenizer, kept)
    assert model.config.vocab_size == len(tokenizer)


def test_positions_that_are_counted_from_the_padding_keep_it_in_place():
    model, tokenizer = fresh("roberta")
    model.config.pad_token_id = 10
    kept = covering(np.zeros(len(tokenizer), dtype=np.int64), tokenizer, min_count=1)
    with pytest.raises(ModelError, match="counted from the padding id 10; every id below it must be kept"):
        cut_vocabulary_(model, tokenizer, kept[kept != 5])


@pytest.mark.parametrize("kept", [[], [3, 2], [0, 0], [-1, 0], [0, 10_000]])
def test_ids_that_are_no_choice(kept):
    model, tokenizer = fresh("bert")
    with pytest.raises(ModelError, match=r"must be ascending and in 0 to \d+"):
        cut_vocabulary_(model, tokenizer, np.array(kept, dtype=np.int64))


def test_another_kind_of_tokenizer_is_named():
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ModelError, match="of type WordLevel cannot be cut; that of WordPiece, BPE, Unigram can"):
        covering(np.ones(1, dtype=np.int64), words, min_count=1)


def test_an_unknown_character_costs_as_much_as_before():
    """``q`` has no piece, so ``qa`` stays or ``q`` is unknown; the price of that is ten more than the lowest score."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("a", -3.0), ("qa", -19.0)]
    tokenizer = XLMRobertaTokenizer(vocab=[*pieces, ("lowest", -20.0), ("b", -4.0), ("ab", -5.0), ("<mask>", 0.0)])
    kept = covering(counts_of(tokenizer, ["a b"]), tokenizer, min_count=1)
    assert kept_tokens(tokenizer, kept) == {token for token, _ in pieces} | {"lowest", "b", "<mask>"}
    model, _ = fresh("roberta")
    model.config.vocab_size = len(tokenizer)
    cut = cut_vocabulary_(model, tokenizer, kept)
    assert cut.tokenize("qa ab") == ["▁", "qa", "▁", "a", "b"]
    assert tokenizer.tokenize("qa ab") == ["▁", "qa", "▁", "ab"]
