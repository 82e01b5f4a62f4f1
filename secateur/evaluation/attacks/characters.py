"""Attacks on texts that know nothing of the model: a text and a seed in, a text out.

What happens to a text depends on the text, the attack and the seed alone, neither on its neighbours nor on their
order. Words are what white space separates, or the place between the texts of a pair; in scripts that write none
between words every character is a word. The placeholders that cleaning puts for handles and links are left alone.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from random import Random
from typing import NamedTuple

from secateur.config.base import TextAttack
from secateur.readers.pairs import SEPARATOR

# Han with its extensions, kana, Thai, Lao, Burmese, Khmer: no white space between words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}{SEPARATOR}]+")
_PLACEHOLDER = re.compile(r"(?:@user|http)\b")
_LETTER = re.compile(r"[A-Za-z]")
_MIN_LETTERS = 3
"""A typo in a shorter word leaves nothing to recognise it by."""

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_CYRILLIC = dict(zip("aceopxyisjhdABEHKMOPCTX", "асеорхуіѕјһԁАВЕНКМОРСТХ", strict=True))
_KANGXI = range(0x2F00, 0x2FD6)


class Edit(NamedTuple):
    """``text[start:end]`` becomes ``new``."""

    start: int
    end: int
    new: str


Word = tuple[int, int]
Proposals = Callable[[str, Word], list[Edit]]
"""Every edit that an attack could make to one word of a text."""


def words_of(text: str) -> list[Word]:
    """Return where the words of a text begin and end, without placeholders."""
    return [found.span() for found in _WORD.finditer(text) if not _PLACEHOLDER.match(found[0])]


def attack_text(text: str, *, attack: TextAttack, num_words: int, seed: int) -> str:
    """Return a text with at most ``num_words`` of its words attacked.

    Args:
        text: any text; what has nothing to attack comes back as it is.
        attack: ``typos`` hits a neighbouring key of a QWERTY keyboard (Latin letters only), ``swaps`` exchanges two
            neighbouring letters, ``homoglyphs`` puts a letter of another block that looks alike, ``casing`` inverts the
            case of a word, ``deletion`` takes a word away, never the last one.
        num_words: how many words are hit; fewer where there are fewer.
        seed: of the draw, together with the attack and the text.
    """
    draw = Random(sha256(f"{seed}\0{attack}\0{text}".encode("utf-8", "surrogatepass")).digest())
    proposed = [edits for word in words_of(text) if (edits := _ATTACKS[attack](text, word))]
    available = len(proposed) - 1 if attack == "deletion" else len(proposed)
    chosen = draw.sample(proposed, max(0, min(num_words, available)))
    changed = _apply(text, sorted(draw.choice(edits) for edits in chosen))
    return changed.rstrip() if attack == "deletion" and chosen else changed


def _apply(text: str, edits: list[Edit]) -> str:
    """Make the edits, in order of their place; one that overlaps the one before it is left out."""
    parts: list[str] = []
    done = 0
    for edit in edits:
        if edit.start >= done:
            parts += [text[done : edit.start], edit.new]
            done = edit.end
    return "".join([*parts, text[done:]])


@cache
def _neighbours() -> Mapping[str, str]:
    """Return the keys around every letter; the rows of a keyboard are shifted by half a key."""
    around: dict[str, str] = {}
    for number, row in enumerate(_ROWS):
        for column, letter in enumerate(row):
            beside = row[max(0, column - 1) : column] + row[column + 1 : column + 2]
            above = _ROWS[number - 1][column : column + 2] if number > 0 else ""
            below = _ROWS[number + 1][max(0, column - 1) : column + 1] if number + 1 < len(_ROWS) else ""
            keys = beside + above + below
            around |= {letter: keys, letter.upper(): keys.upper()}
    return around


@cache
def _lookalikes() -> Mapping[str, str]:
    """Return a character that looks alike: Cyrillic for Latin, a Kangxi radical for a Han character."""
    radicals = {unicodedata.normalize("NFKC", chr(code)): chr(code) for code in _KANGXI}
    return {**radicals, **_CYRILLIC}


def _typos(text: str, word: Word) -> list[Edit]:
    start, end = word
    if len(_LETTER.findall(text, start, end)) < _MIN_LETTERS:
        return []
    around = _neighbours()
    return [Edit(at, at + 1, key) for at in range(start, end) for key in around.get(text[at], "")]


def _swaps(text: str, word: Word) -> list[Edit]:
    start, end = word
    # A word of one character, as in Chinese, changes places with the one after it.
    last = end if end - start > 1 else min(end + 1, len(text))
    pairs = (text[at : at + 2] for at in range(start, last - 1))
    return [
        Edit(start + place, start + place + 2, pair[::-1])
        for place, pair in enumerate(pairs)
        if pair.isalpha() and pair[0] != pair[1]
    ]


def _homoglyphs(text: str, word: Word) -> list[Edit]:
    alike = _lookalikes()
    return [Edit(at, at + 1, alike[text[at]]) for at in range(*word) if text[at] in alike]


def _casing(text: str, word: Word) -> list[Edit]:
    start, end = word
    found = text[start:end]
    return [Edit(start, end, found.swapcase())] if found.swapcase() != found else []


def _deletion(text: str, word: Word) -> list[Edit]:
    start, end = word
    while end < len(text) and text[end].isspace():
        end += 1
    return [Edit(start, end, "")]


_ATTACKS: Mapping[TextAttack, Proposals] = {
    "typos": _typos,
    "swaps": _swaps,
    "homoglyphs": _homoglyphs,
    "casing": _casing,
    "deletion": _deletion,
}

TEXT_ATTACKS: tuple[TextAttack, ...] = tuple(_ATTACKS)
