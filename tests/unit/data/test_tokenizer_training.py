import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.config.baseline import TokenizerSection
from secateur.data.tokenizer_training import control_token, controlled_, train_tokenizer

TEXTS = ["服务很好,房间很干净。", "服务太差了。", "the room was 好", "房间很小很小"] * 3


def trained(kind: str, texts=TEXTS, **changes):
    section = TokenizerSection.model_validate({"kind": kind, "vocab_size": 400, "min_count": 2, **changes})
    return train_tokenizer(texts, section, labels=["neg", "pos"], max_length=64)


TOKENIZERS = {kind: trained(kind) for kind in ("characters", "bytes")}


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_every_text_comes_back(kind, text):
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_text_begins_and_ends_and_control_tokens_are_single(kind):
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer("很好")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer("<|pos|>", add_special_tokens=False)["input_ids"] == [tokenizer.get_vocab()[control_token("pos")]]
    assert tokenizer.decode(tokenizer("<|pos|>很")["input_ids"], skip_special_tokens=True) == "很"
    assert (tokenizer.pad_token_id, tokenizer.model_max_length) == (0, 64)


def test_characters_are_single_tokens_and_rare_ones_are_bytes():
    tokenizer = trained("characters", min_count=4)
    assert len(tokenizer("服务很", add_special_tokens=False)["input_ids"]) == 3
    rare = tokenizer("净", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(rare) == [f"<0x{byte:02X}>" for byte in "净".encode()]


def test_the_most_frequent_characters_fill_the_vocabulary():
    tokenizer = trained("characters", [*TEXTS, *(2 * chr(0x4E00 + number) for number in range(100))], vocab_size=300)
    assert len(tokenizer) == 300
    assert len(tokenizer("很", add_special_tokens=False)["input_ids"]) == 1


def test_tokens_are_the_same_in_every_process():
    code = (
        "from tests.unit.data.test_tokenizer_training import trained\n"
        "import hashlib\n"
        "for kind in ('characters', 'bytes'):\n"
        "    print(hashlib.sha256(trained(kind)._tokenizer.to_str().encode()).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    }
    assert len(runs) == 1


def test_control_tokens_are_added_once():
    tokenizer = trained("characters")
    before = len(tokenizer)
    assert len(controlled_(tokenizer, ["pos"])) == before
    assert len(controlled_(tokenizer, ["warm"])) == before + 1
    assert tokenizer("<|pos|><|warm|>", add_special_tokens=False)["input_ids"] == [5, before]
