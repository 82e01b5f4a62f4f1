import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data import text_rules
from secateur.data.parallel import clean_texts_in_processes
from secateur.data.text_rules import (
    TextRules,
    before_and_after,
    clean_texts,
    cut,
    mask_handles,
    mask_links,
    normalize,
    repair_encoding,
)

RULES = TextRules(repair_encoding=True, normalization="NFKC", mask_handles=True, mask_links=True, max_chars=40)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("schÃ¶n &amp; gut", "schön & gut"),
        ("it\x92s", "it’s"),  # a Windows quote that was read as Latin-1
        ("plain", "plain"),
        ("“好”", "“好”"),
    ],
)
def test_encoding_is_repaired(text, clean):
    assert repair_encoding(text) == clean


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_cut_for_ascii_changes_nothing(text):
    assert repair_encoding(text) == ftfy.fix_text(text, text_rules._REPAIR)


def test_normalization():
    assert normalize(" a\u3000b\x00\u200b\t\nc ", form="NFC") == "a b c"
    assert normalize("Ｗ①", form="NFKC") == "W1"
    assert normalize("Ｗ①", form="NFC") == "Ｗ①"
    # The zero-width joiner makes one family of three people.
    assert normalize("👨\u200d👩\u200d👧", form="NFKC") == "👨\u200d👩\u200d👧"


@given(st.text())
def test_normalizing_twice_is_normalizing_once(text):
    once = normalize(text, form="NFKC")
    assert normalize(once, form="NFKC") == once
    assert once == once.strip() and "  " not in once


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("RT @Bob_1: hi @你好", "RT @user: hi @user"),
        ("@Shop的服务很差", "@user的服务很差"),
        ("mail bob@example.org", "mail bob@example.org"),
        ("@", "@"),
    ],
)
def test_handles_are_masked(text, masked):
    assert mask_handles(text) == masked
    assert mask_handles(masked) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("see https://t.co/a?b=c#d now", "see http now"),
        ("看http://t.cn/Ab1很好", "看http很好"),
        ("WWW.example.org", "http"),
        ("http is a protocol", "http is a protocol"),
    ],
)
def test_links_are_masked(text, masked):
    assert mask_links(text) == masked
    assert mask_links(masked) == masked


def test_cutting_leaves_no_space_at_the_end():
    assert cut("ab cd", max_chars=3) == "ab"
    assert cut("abc", max_chars=3) == "abc"


def test_every_change_is_recorded_with_its_step():
    texts = ["fine", "a  b", "@bob", "x &amp; " + "y" * 50]
    cleaned, changed = clean_texts(texts, RULES)
    assert cleaned == ["fine", "a b", "@user", "x & " + "y" * 36]
    assert changed == [0, 0b00010, 0b00100, 0b10001]
    assert before_and_after(texts[3], RULES, "max_chars") == ("x & " + "y" * 50, "x & " + "y" * 36)


@given(st.lists(st.text(), max_size=5))
def test_no_text_is_longer_than_asked(texts):
    cleaned, _ = clean_texts(texts, RULES)
    assert all(len(text) <= 40 for text in cleaned)


def test_processes_change_nothing_but_the_time(monkeypatch):
    monkeypatch.setattr("secateur.data.parallel._MIN_ROWS", 10)
    monkeypatch.setattr("secateur.data.parallel._CHUNK_ROWS", 7)
    texts = [f"@bob  wrote &amp; {i} ｗ" for i in range(30)]
    texts[3:5] = "plain", "as plain"
    found = list(clean_texts_in_processes(iter(texts), RULES, num_proc=2))
    assert found == list(zip(*clean_texts(texts, RULES), strict=True))
    assert all(found[place][0] is texts[place] for place in (3, 4)), "a second copy of what no step changed"


def test_few_texts_are_cleaned_here():
    found = list(clean_texts_in_processes(["a  b", "c"], RULES, num_proc=2))
    assert found == [("a b", 0b00010), ("c", 0)]
    assert list(clean_texts_in_processes([], RULES, num_proc=2)) == []
