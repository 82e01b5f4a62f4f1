"""What is done to the text of one row, as an ordered list of named steps."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import ftfy

from secateur.data.html_text import without_html
from secateur.readers.pairs import each

Step = tuple[str, Callable[[str], str]]

# Width, ligatures and quotes belong to the normalization parameter (or to the writer): only damage is repaired.
_REPAIR = ftfy.TextFixerConfig(
    fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False, normalization=None, explain=False
)
# In pure ASCII only these can be touched by ftfy: HTML entities, terminal escapes, control characters, line ends.
_MAY_NEED_REPAIR = re.compile(r"[&\r\x00-\x08\x0b\x0e-\x1f\x7f]")
# Controls that are not white space, and invisible characters that only split words. The zero-width joiners
# stay: emoji and several scripts need them.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\ud800-\udfff]")
# An ASCII handle ends where Chinese text goes on; an e-mail address is no handle.
_HANDLE = re.compile(r"(?<![A-Za-z0-9_.@])@(?:[A-Za-z0-9_]+|\w{1,30})")
_LINK = re.compile(r"(?:https?://|www\.)[!-~]+", re.IGNORECASE)


@dataclass(frozen=True)
class TextRules:
    """Which steps are on; see the parameters of the same names under ``clean``."""

    repair_encoding: bool
    normalization: Literal["NFC", "NFKC"]
    mask_handles: bool
    mask_links: bool
    max_chars: int
    strip_html: bool = False

    def as_values(self) -> dict[str, Any]:
        """Return them as they stand in a card; a step that came later is named where it is on."""
        return {name: value for name, value in asdict(self).items() if name != "strip_html" or value}

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "TextRules | None":
        """Read the rules as they stand in a card; None where nothing is known of them."""
        return cls(**values) if values else None


def steps_of(rules: TextRules) -> tuple[Step, ...]:
    """Return the steps in the order in which they are applied; the name is the parameter's."""
    steps: list[Step] = []
    if rules.strip_html:
        steps.append(("strip_html", without_html))
    if rules.repair_encoding:
        steps.append(("repair_encoding", repair_encoding))
    steps.append(("normalization", lambda text: normalize(text, form=rules.normalization)))
    if rules.mask_handles:
        steps.append(("mask_handles", mask_handles))
    if rules.mask_links:
        steps.append(("mask_links", mask_links))
    steps.append(("max_chars", lambda text: cut(text, max_chars=rules.max_chars)))
    return tuple(steps)


def repair_encoding(text: str) -> str:
    """Undo mojibake, HTML entities and terminal escapes (ftfy)."""
    if text.isascii() and not _MAY_NEED_REPAIR.search(text):
        return text
    return str(ftfy.fix_text(text, _REPAIR))


def normalize(text: str, *, form: Literal["NFC", "NFKC"]) -> str:
    """Drop invisible characters, apply the Unicode form, and put one space for every run of white space."""
    if not text.isascii() or not text.isprintable():
        text = unicodedata.normalize(form, _INVISIBLE.sub("", text))
    return " ".join(text.split())


def mask_handles(text: str) -> str:
    """Replace ``@name`` by ``@user``."""
    return _HANDLE.sub("@user", text) if "@" in text else text


def mask_links(text: str) -> str:
    """Replace a web address by ``http``."""
    return _LINK.sub("http", text)


def cut(text: str, *, max_chars: int) -> str:
    """Keep the first ``max_chars`` characters, without white space at the end."""
    return text if len(text) <= max_chars else text[:max_chars].rstrip()


def clean_texts(texts: Sequence[str], rules: TextRules) -> tuple[list[str], list[int]]:
    """Apply all steps to all texts, to those of a pair each by itself.

    Returns:
        The cleaned texts, and for each a bit set: bit i is on when step i changed it.
    """
    steps = steps_of(rules)
    cleaned: list[str] = []
    changed: list[int] = []
    for text in texts:
        bits = 0
        for index, (_, step) in enumerate(steps):
            new = each(text, step)
            if new != text:
                bits |= 1 << index
                text = new  # noqa: PLW2901  each step reads what the last one left
        cleaned.append(text)
        changed.append(bits)
    return cleaned, changed


def before_and_after(text: str, rules: TextRules, name: str) -> tuple[str, str]:
    """Return a source text as the step ``name`` met it and as it left it."""
    for step_name, step in steps_of(rules):
        new = each(text, step)
        if step_name == name:
            return text, new
        text = new
    return text, text
