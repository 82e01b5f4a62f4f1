"""Rows of two texts: a pair is one string, so that what counts, compares and stores texts need not know of it.

Between its texts stands U+FDD0, which Unicode keeps for the inside of programs and out of texts. Whoever looks at each
text by itself (rules of cleaning, tokenizers, attacks) takes a pair apart here; whoever shows one to a person, too.
"""

from collections.abc import Callable, Sequence

SEPARATOR = "\ufdd0"

Written = str | Sequence[str]
"""A text as it comes from outside: one, or the two of a pair."""


def as_text(written: Written) -> str:
    """Return one text, or two as a pair; the separator in a text from outside is a character that cannot be read."""
    texts = [written] if isinstance(written, str) else written
    return SEPARATOR.join(text.replace(SEPARATOR, "\ufffd") for text in texts)


def texts_in(text: str) -> list[str]:
    """Return the two texts of a pair; of another one the text alone."""
    return text.split(SEPARATOR)


def as_written(text: str) -> str | list[str]:
    """Return a text as it came: one, or the two of a pair."""
    return texts_in(text) if SEPARATOR in text else text


def shown(text: str) -> str:
    """Return a text for people: those of a pair beside each other."""
    return text.replace(SEPARATOR, " | ")


def each(text: str, change: Callable[[str], str]) -> str:
    """Return a text that was changed, of a pair each of them by itself."""
    return change(text) if SEPARATOR not in text else SEPARATOR.join(map(change, texts_in(text)))


def has_words(text: str | None) -> bool:
    """Tell whether there is anything in a text, of a pair in both."""
    return text is not None and all(one.strip() for one in texts_in(text))


def why_unanswered(text: str) -> str:
    """Say why a text in which there is nothing (``has_words``) gets no answer."""
    return "a text of the pair is empty" if SEPARATOR in text else "the text is empty"


def num_texts(texts: Sequence[str]) -> int:
    """Return how many texts each of some rows has: 1, or 2 where all are pairs; rows of either kind give 0."""
    pairs = sum(SEPARATOR in text for text in texts)
    return 1 if not pairs else 2 if pairs == len(texts) else 0
