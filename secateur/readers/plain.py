"""Plain text: a row per line or per file, or lines of fastText, which begin with their labels."""

from pathlib import Path

from secateur.readers.encodings import open_text
from secateur.readers.layout import Columns, require
from secateur.sources.compression import bare, explained, open_bytes
from secateur.sources.locations import PlainFormat

_LABEL = "__label__"

PLAIN_COLUMNS: dict[PlainFormat, list[str]] = {
    "lines": ["text", "file"],
    "text": ["text", "file"],
    "fasttext": ["text", "label"],
}
"""Names of the columns of each form."""


def read_plain(path: Path, form: PlainFormat, *, encoding: str, columns: Columns) -> dict[str, list[object]]:
    """Read the columns of one record per line that is not blank, or of one in all.

    ``file`` is the file's name without its ending. A line of fastText is its labels, each behind ``__label__``, and the
    text; ``label`` holds a list of them.

    Raises:
        DataError: another column was asked for.
    """
    require(columns, PLAIN_COLUMNS[form], name=path.name)
    with open_bytes(path) as raw, open_text(raw, encoding) as file:
        content = file.read().replace("\r\n", "\n").replace("\r", "\n")
    rows = [text for text in ([content] if form == "text" else content.split("\n")) if text.strip()]
    if form != "fasttext":
        return {"text": [*rows], "file": [bare(path).stem] * len(rows)}
    split = [_labels_and_text(row) for row in rows]
    return {"text": [text for _, text in split], "label": [labels for labels, _ in split]}


def is_fasttext(path: Path) -> bool:
    """Tell whether the first line of a file that is there begins with a label of fastText."""
    with explained(path), open_bytes(path) as file:
        return file.read(1 << 12).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_LABEL.encode())


def _labels_and_text(line: str) -> tuple[list[str], str]:
    labels: list[str] = []
    rest = line.strip()
    while rest.startswith(_LABEL):
        word, _, rest = rest.partition(" ") if " " in rest else (rest, "", "")
        labels.append(word.removeprefix(_LABEL))
        rest = rest.lstrip()
    return labels, rest
