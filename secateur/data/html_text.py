"""HTML in texts, as whoever copies pages leaves it: told where it stands, and taken out where that is asked for."""

import html
import re
from collections import Counter
from collections.abc import Sequence

_INLINE = "a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|mark|s|small|span|strike|strong|sub|sup|tt|u"
_BLOCKS = (
    "article|blockquote|body|br|button|center|dd|details|div|dl|dt|figure|footer|form|frame|h[1-6]|head|header|hr|html|"
    "iframe|img|input|label|li|link|main|meta|nav|noscript|ol|option|p|pre|q|script|section|select|style|summary|table|"
    "tbody|td|textarea|tfoot|th|thead|title|tr|ul|wbr"
)
_ATTRIBUTES = r"(?:\s[^<>]*)?/?>"
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_INSIDE = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}", re.IGNORECASE)
_BETWEEN = re.compile(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")

MANY = 0.01
"""The share of texts from which it is told; a single one may speak of HTML."""


def without_html(text: str) -> str:
    """Take out the tags of HTML, its comments, scripts and styles, and read its entities (``&nbsp;``).

    A tag within a word joins its parts, as a page shows it; any other one is a space. What is no tag of HTML stays:
    ``<3``, ``a < b``, ``<name>``.
    """
    if "<" in text:
        text = _BETWEEN.sub(" ", _INSIDE.sub("", _HIDDEN.sub(" ", text)))
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def holding_html(texts: Sequence[str]) -> list[str]:
    """Return the first tag or entity of each text that holds one."""
    found = (_first(text) for text in texts if "<" in text or "&" in text)
    return [sign for sign in found if sign is not None]


def remark_on_html(texts: Sequence[str]) -> list[str]:
    """Say how many cleaned texts hold HTML, where these are more than a few, and what takes it out."""
    signs = Counter(holding_html(texts))
    if (holding := signs.total()) < max(1, MANY * len(texts)):
        return []
    sign = max(sorted(signs), key=signs.__getitem__)
    return [
        f"{holding} of {len(texts)} texts ({holding / len(texts):.1%}) hold HTML ({sign}): "
        "-S clean.strip_html=true takes tags out, and reads entities"
    ]


def _first(text: str) -> str | None:
    for sign in (_BETWEEN, _INSIDE):
        if found := sign.search(text):
            return re.split(r"[\s>]", found[0])[0].rstrip("/") + ">"
    for found in _ENTITY.finditer(text):
        if html.unescape(found[0]) != found[0]:
            return found[0]
    return None
