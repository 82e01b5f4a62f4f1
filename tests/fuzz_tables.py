"""Tables with known rows, in every form that is read: what ``fuzz_readers`` writes, and what it expects back.

The expected rows of text with a delimiter are those that Python's csv module reads of what it wrote, those of JSON and
Parquet what json and pyarrow read; all by the settings that were written, so nothing of ours has a say in them.
"""

import bz2
import csv
import gzip
import importlib.util
import io
import json
import lzma
import random
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Value = str | int | float | bool | None
Row = tuple[str | None, Value]

_PIECES = (
    "good", "bad", "Not at all", "a", "", " ", "  ", "\t", "\n", "\r\n", "\n\n", ",", ";", "|", '"', '""', "'", "\\",
    '\\"', "\\n", "C:\\new", "=1+2", "#", "0", "007", "1e30", "nan", "NULL", "-", "é", "e\u0301", "中文", "语", "😀",
    "👩\u200d👩\u200d👧", "\u202eabc", "\u00a0", "\u2028", "\u0085", "\x0b", "\x1c", "ﬁ", "ß", "{", "}", "[", "]", ":",
    "<b>", "text", "label", "sep=;", "\ufeff", "\u200b", "ก",
)  # fmt: skip
_PLAIN = ("good", "bad", "fine", "so so", "it is", "never", "1", "x y")
_LABELS: tuple[tuple[Value, ...], ...] = (
    ("good", "bad"), ("1", "2", "3"), ("007", "1E30", "1.0"), ("a b", "ü", "中"), ("x", None), ("yes", "", "no"),
    ("O'Neil", "a,b"),
)  # fmt: skip
_TYPED_LABELS: tuple[tuple[Value, ...], ...] = ((0, 1), (1.0, 2.5), (True, False), (1, "1", "one"), (5, None))
_NAMES = ("text", "label")
_ENCODINGS = (*["utf-8"] * 6, "utf-8-sig", "utf-16", "utf-32", "gb18030", "cp1252")
_PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@dataclass(frozen=True)
class Written:
    """A file, how ``ingest`` is told to read it, and the rows in it.

    Attributes:
        name: of the file.
        content: of the file.
        ingest: parameters.
        rows: that are expected.
        may_be_refused: words of a refusal that is right here: a cell that holds whole rows, in the main.
    """

    name: str
    content: bytes
    ingest: Mapping[str, Any]
    rows: Sequence[Row]
    may_be_refused: tuple[str, ...] = field(default=())


def some_table(draw: random.Random) -> Written:
    """Write some rows in some form."""
    often = {
        _delimited: 4, _tabs_without_quotes: 1, _json: 2, _json_lines: 2, _parquet: 1, _sqlite: 1, _fasttext: 1,
        _apostrophes: 1,
    }  # fmt: skip
    form = _workbook if draw.random() < _WORKBOOKS else draw.choices([*often], [*often.values()])[0]
    return form(draw)


_WORKBOOKS = 0.005 if importlib.util.find_spec("openpyxl") and importlib.util.find_spec("python_calamine") else 0.0
"""A workbook is read in a process of its own, which costs a hundred times as much."""


def spelled(value: Value) -> str | None:
    """Return a label as it counts: trimmed text, a number without a fraction of zero."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return (str(value).strip() or None) if value is not None else None


def _text(draw: random.Random) -> str:
    pool = _PLAIN if draw.random() < 0.4 else _PIECES
    return "".join(draw.choice(pool) for _ in range(draw.choice((1, 1, 2, 3, 5, 9, 30))))


def _rows(draw: random.Random, *, typed: bool = False) -> list[Row]:
    labels = draw.choice(_TYPED_LABELS if typed and draw.random() < 0.5 else _LABELS)
    number = draw.choice((1, 2, 3, 8, 8, 40))
    return [(_text(draw), draw.choice(labels)) for _ in range(number)]


def _encoded(draw: random.Random, text: str) -> tuple[bytes, dict[str, Any]]:
    encoding = draw.choice(_ENCODINGS)
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:
        encoding, content = "utf-8", text.encode()
    told = encoding in ("gb18030", "cp1252") or draw.random() < 0.2
    return content, {"encoding": encoding} if told and encoding != "utf-8-sig" else {}


def _packed(draw: random.Random, name: str, content: bytes) -> tuple[str, bytes]:
    if draw.random() < 0.8:
        return name, content
    if draw.random() < 0.25:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        return f"{name}.zip", stream.getvalue()
    ending = draw.choice([*_PACKED])
    return name + ending, _PACKED[ending](content)


def _delimited(draw: random.Random) -> Written:
    rows, delimiter = _rows(draw), draw.choice(",,,;;\t|")
    escapes = draw.random() < 0.15
    settings: dict[str, Any] = {
        "delimiter": delimiter,
        "quoting": draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
        "lineterminator": draw.choice(("\n", "\r\n")),
        **({"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL} if escapes else {}),
    }
    extra = draw.choice(([], [], ["id"], ["id", "when"]))
    header = [*extra, "text", "label"]
    draw.shuffle(header)
    stream = io.StringIO(newline="")
    if draw.random() < 0.05:
        stream.write(f"sep={delimiter}\n")
    writer = csv.writer(stream, **settings)
    writer.writerow(header)
    for number, (text, label) in enumerate(rows):
        values = {"text": text, "label": label, "id": number, "when": "2026-11-30"}
        writer.writerow([values[name] for name in header])
    written = stream.getvalue()
    body = written.removeprefix(f"sep={delimiter}\n")
    if body == written and draw.random() < 0.1:
        written = draw.choice(("# made by a tool\n", "A report\n\n", "# a\n# b\n")) + written
    read = csv.DictReader(io.StringIO(body, newline=""), **settings, strict=True)
    expected = [(row["text"], row["label"]) for row in read]
    content, ingest = _encoded(draw, written)
    ending = ".tsv" if delimiter == "\t" and draw.random() < 0.7 else ".csv"
    name, content = _packed(draw, f"rows{ending}", content)
    told = {"delimiter": delimiter} if draw.random() < 0.3 else {}
    escaping = {"escapes": "backslash"} if escapes else {}
    # A text that holds lines which could be rows is what a stray quote makes of rows: no reader can tell.
    return Written(name, content, {**ingest, **told, **escaping}, expected, ("holds whole rows", "goes on behind it"))


def _apostrophes(draw: random.Random) -> Written:
    rows, delimiter = (
        [(text.replace("\n", " ").replace("\r", " "), label) for text, label in _rows_of_text(draw)],
        draw.choice(",;\t|"),
    )
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quotechar="'", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([_NAMES, *rows])
    content, ingest = _encoded(draw, stream.getvalue())
    name, content = _packed(draw, "rows.csv", content)
    return Written(name, content, ingest, rows)


def _fasttext(draw: random.Random) -> Written:
    rows: list[Row] = []
    for text, label in _rows_of_text(draw):
        words = " ".join(text.replace("__label__", "").split())
        rows.append((words, "_".join((label or "x").split())))
    lines = [f"__label__{label} {text}" for text, label in rows]
    content, ingest = _encoded(draw, draw.choice(("\n", "\r\n")).join(lines))
    name, content = _packed(draw, "rows.txt", content)
    return Written(name, content, {**ingest, "format": "fasttext"}, rows)


def _rows_of_text(draw: random.Random) -> list[tuple[str, str]]:
    return [(text or "", str(label or "")) for text, label in _rows(draw)]


def _tabs_without_quotes(draw: random.Random) -> Written:
    def one_line(text: str | None) -> str:
        return " ".join((text or "").replace("\t", " ").splitlines()) or "x"

    rows = [(one_line(text), one_line(str(label or ""))) for text, label in _rows(draw)]
    lines = ["text\tlabel", *("\t".join(row) for row in rows)]
    content, ingest = _encoded(draw, draw.choice(("\n", "\r\n")).join(lines) + draw.choice(("", "\n")))
    name, content = _packed(draw, "rows.tsv", content)
    return Written(name, content, {**ingest, "quotes": "text"}, rows)


def _json(draw: random.Random) -> Written:
    rows = _rows(draw, typed=True)
    objects = [{"text": text, "label": label, "id": number} for number, (text, label) in enumerate(rows)]
    forms: tuple[Callable[[], Any], ...] = (
        lambda: objects,
        lambda: {"version": 1, "data": objects},
        lambda: {"columns": ["text", "label"], "data": [list(row) for row in rows]},
        lambda: {name: {str(n): row[place] for n, row in enumerate(rows)} for place, name in enumerate(_NAMES)},
        lambda: {"text": [row[0] for row in rows], "label": [row[1] for row in rows]},
    )  # fmt: skip
    settings: dict[str, Any] = {"ensure_ascii": draw.random() < 0.5, "indent": draw.choice((None, 2))}
    text = json.dumps(draw.choice(forms)(), **settings)
    if draw.random() < 0.15:
        text = draw.choice((" ", "\n")).join(json.dumps(row, **settings) for row in objects)
    content, ingest = _encoded(draw, text)
    name, content = _packed(draw, "rows.json", content)
    return Written(name, content, ingest, rows)


def _json_lines(draw: random.Random) -> Written:
    rows = _rows(draw, typed=True)
    lines = []
    for text, label in rows:
        value = {"text": text, "label": label, "more": {"a": [1, None]}}
        if label is None and draw.random() < 0.5:
            del value["label"]
        lines.append(json.dumps(value, ensure_ascii=draw.random() < 0.5))
    if not any("label" in json.loads(line) for line in lines):
        lines[0] = json.dumps({"text": rows[0][0], "label": None})
    end = draw.choice(("\n", "\r\n", "\n\n"))
    content, ingest = _encoded(draw, end.join(lines) + draw.choice(("", end)))
    name, content = _packed(draw, draw.choice(("rows.jsonl", "rows.ndjson")), content)
    return Written(name, content, ingest, rows)


def _parquet(draw: random.Random) -> Written:
    rows = _rows(draw, typed=True)
    texts, labels = [row[0] for row in rows], [row[1] for row in rows]
    if len({type(label) for label in labels if label is not None}) > 1:
        labels = [None if label is None else str(label) for label in labels]
    kind = draw.choice((pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())))
    values = [text.encode() for text in texts if text is not None] if kind == pa.binary() else texts
    column = (
        pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)
    )
    table = pa.table({"id": list(range(len(rows))), "text": column, "label": pa.array(labels)})
    stream = io.BytesIO()
    pq.write_table(
        table,
        stream,
        compression=draw.choice(("none", "snappy", "zstd", "gzip")),
        row_group_size=draw.choice((1, 7, 1000)),
        use_dictionary=draw.random() < 0.5,
        data_page_version=draw.choice(("1.0", "2.0")),
    )
    read = pq.read_table(io.BytesIO(stream.getvalue())).to_pydict()["label"]
    return Written(draw.choice(("rows.parquet", "rows.pq")), stream.getvalue(), {}, list(zip(texts, read, strict=True)))


def _sqlite(draw: random.Random) -> Written:
    rows = _rows(draw, typed=True)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body, stars)")
        connection.executemany("INSERT INTO notes (body, stars) VALUES (?, ?)", rows)
        connection.commit()
        expected = connection.execute("SELECT body, stars FROM notes ORDER BY id").fetchall()
        content = connection.serialize()
    query = "SELECT body AS text, stars AS label FROM notes ORDER BY id"
    return Written("rows.db", content, {"query": query}, expected)


def _workbook(draw: random.Random) -> Written:
    import openpyxl

    pool = ("good", "bad one", "é", "中文", "😀", "a,b", '"', "007", "1e30", "x;y", "-")
    rows: list[Row] = [("".join(draw.choice(pool) for _ in range(3)), draw.choice(("a", "b"))) for _ in range(5)]
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["text", "label"])
    for row in rows:
        sheet.append(list(row))
        for cell in sheet[sheet.max_row]:
            cell.data_type = "s"
    stream = io.BytesIO()
    book.save(stream)
    return Written("rows.xlsx", stream.getvalue(), {}, rows)


def write(written: Written, folder: Path) -> Path:
    """Put the file into a folder."""
    path = folder / written.name
    path.write_bytes(written.content)
    return path
