"""What reference writers write in any dialect reads back to the same rows."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.config.ingest import IngestSection
from secateur.data.acquisition import check_rows
from secateur.errors import DataError
from secateur.readers.columns import columns_of
from secateur.readers.pairs import SEPARATOR
from secateur.readers.reading import reading_of
from secateur.sources.locations import locate

ROWS = [
    (f'{i} in all, "he said"; and so | on' if i % 3 else f"plain {i}", "good" if i % 2 else "bad") for i in range(12)
]
NAMES = ("text", "label")


def read(folder, source, **params):
    section = IngestSection(**({"text_column": "text", "label_column": "label"} | params), source=source)
    found = check_rows(section.source, reading_of(section), root=folder, min_labels=0)
    return found, list(zip(found.rows["text"].to_pylist(), found.rows["label"].to_pylist(), strict=True))


def table_of(rows, *, names=NAMES, **dialect):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, **dialect)
    if names:
        writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue()


def zipped(content, *, names=("rows.csv",)):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return stream.getvalue()


CELLS = st.text(
    st.sampled_from("ab \"\\,;|\t'é好#=\u200b")
    | st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=SEPARATOR),
    max_size=12,
)
TABLES = st.lists(st.tuples(CELLS, st.sampled_from(["a", "1E30", "007", "b c", '"'])), min_size=1, max_size=8)
PACKED = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zip": zipped,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}  # fmt: skip


@settings(max_examples=150)
@given(
    rows=TABLES,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    ending=st.sampled_from(sorted(PACKED)),
    said=st.booleans(),
    header=st.booleans(),
)
def test_a_table_of_any_dialect_reads_back(
    tmp_path_factory, rows, delimiter, quoting, end, encoding, ending, said, header
):
    folder = tmp_path_factory.mktemp("dialect")
    names = (" text", "label ") if header else None
    content = table_of(rows, names=names, delimiter=delimiter, quoting=quoting, lineterminator=end)
    content = (f"sep={delimiter}{end}" if said else "") + content
    file = folder / f"rows.csv{ending}"
    file.write_bytes(PACKED[ending](content.encode(encoding)))
    params = {} if header else {"header": False, "text_column": 0, "label_column": 1, "delimiter": delimiter}
    assert read(folder, file.name, **params)[1] == rows


def test_what_stands_between_the_texts_of_a_pair_is_unreadable_in_a_text(tmp_path):
    (tmp_path / "a.csv").write_text(f"text,label\none{SEPARATOR}two,a\nthree,b\n", "utf-8")
    assert read(tmp_path, "a.csv")[1] == [("one\ufffdtwo", "a"), ("three", "b")]


BACKSLASHES = {"escapechar": "\\", "doublequote": False}


@settings(max_examples=150)
@given(
    rows=TABLES,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    quotes=st.sampled_from(["auto", "text"]),
)
def test_backslashes_that_are_named_read_back(tmp_path_factory, rows, delimiter, quoting, quotes):
    folder = tmp_path_factory.mktemp("escapes")
    quoting = csv.QUOTE_NONE if quotes == "text" else quoting
    content = table_of(rows, delimiter=delimiter, quoting=quoting, lineterminator="\n", **BACKSLASHES)
    (folder / "rows.csv").write_text(content, newline="")
    assert read(folder, "rows.csv", escapes="backslash", quotes=quotes)[1] == rows


@settings(max_examples=150)
@given(rows=TABLES, delimiter=st.sampled_from(",;\t|"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_backslashes_are_found_or_nothing_is_read_wrong_without_a_word(tmp_path_factory, rows, delimiter, quoting):
    folder = tmp_path_factory.mktemp("escapes")
    rows = [(text.replace("\\", "/"), label) for text, label in rows]
    content = table_of(rows, delimiter=delimiter, quoting=quoting, lineterminator="\n", **BACKSLASHES)
    (folder / "rows.csv").write_text(content, newline="")
    try:
        found, right = read(folder, "rows.csv")
    except DataError:
        return
    assert right == rows or found.remarks


def test_escaped_quotes_are_told_and_paths_stay(tmp_path):
    rows = [('he said \\"no, thanks\\"', "a"), ("C:\\new\\table", "b"), ('\\"', "a"), ('ends with \\"', "b")]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
    found, read_back = read(tmp_path, "rows.csv")
    assert read_back == [(text.replace('\\"', '"'), label) for text, label in rows]
    assert found.remarks == (
        "rows.csv: a backslash was read as making a part of the cell of the sign behind it (ingest.escapes), because "
        "in line 2 a quote closes a cell that goes on behind it",
    )


def test_a_backslash_at_the_end_of_a_cell_is_one(tmp_path):
    (tmp_path / "rows.csv").write_text('text,label\n"C:\\",a\n"D:\\",b\n')
    found, rows = read(tmp_path, "rows.csv")
    assert rows == [("C:\\", "a"), ("D:\\", "b")] and found.remarks == ()


@given(
    rows=TABLES, kind=st.sampled_from(["lines", "array", "data", "index", "split", "nested"]), ascii_only=st.booleans()
)
def test_json_of_any_shape_reads_back(tmp_path_factory, rows, kind, ascii_only):
    folder = tmp_path_factory.mktemp("json")
    rows = [*rows, ("one more", "a")]
    records = [dict(zip(NAMES, row, strict=True)) for row in rows]
    shapes = {
        "array": records,
        "data": {"version": 1, "data": records},
        "index": {str(i): record for i, record in enumerate(records)},
        "split": {"columns": NAMES, "index": list(range(len(rows))), "data": rows},
    }
    lines = records if kind == "lines" else [{"in": {"text": t}, "is": [{"label": x}]} for t, x in rows]
    text = (
        json.dumps(shapes[kind], ensure_ascii=ascii_only)
        if kind in shapes
        else "\n".join(json.dumps(line, ensure_ascii=ascii_only) for line in lines)
    )
    (folder / "rows.json").write_text(text, encoding="utf-8")
    nested = {"text_column": "in.text", "label_column": "is.0.label"} if kind == "nested" else {}
    assert read(folder, "rows.json", **nested)[1] == rows


STRINGS = {
    "string": pa.string(), "large": pa.large_string(), "view": pa.string_view(), "binary": pa.binary(),
    "large binary": pa.large_binary(), "dictionary": pa.dictionary(pa.int32(), pa.string()),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRINGS)
def test_parquet_of_any_type_of_text_reads_back(tmp_path, kind):
    texts, labels = (pa.array(column, pa.string()).cast(STRINGS[kind]) for column in zip(*ROWS, strict=True))
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "rows.parquet")
    assert read(tmp_path, "rows.parquet")[1] == ROWS


def test_fields_of_parquet_are_named_by_dots(tmp_path):
    texts, labels = zip(*ROWS, strict=True)
    inside = pa.array([{"text": text, "by": {"label": label}} for text, label in ROWS])
    pq.write_table(pa.table({"row": inside, "n": list(range(len(ROWS)))}), tmp_path / "rows.parquet")
    found = read(tmp_path, "rows.parquet", text_column="row.text", label_column="row.by.label")[1]
    assert found == list(zip(texts, labels, strict=True))
    with pytest.raises(DataError, match=r"rows.parquet has no column 'row.by.name'; its columns are: row, n"):
        read(tmp_path, "rows.parquet", text_column="row.text", label_column="row.by.name")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    pq.write_table(pa.table({"text": [b"\xff"], "label": [Decimal("1.0")]}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="column 'text' holds bytes that are not UTF-8; write it as text"):
        read(tmp_path, "rows.parquet")


def test_without_a_header_columns_are_numbers_and_the_tip_says_so(tmp_path):
    (tmp_path / "rows.csv").write_text(table_of(ROWS, names=None, delimiter=";"), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=r"has no column 'text'; .* set ingest.header=false: columns are 0, 1"):
        read(tmp_path, "rows.csv")
    assert read(tmp_path, "rows.csv", header=False, text_column="0", label_column="1")[1] == ROWS
    section = IngestSection(source="rows.csv", header=False)
    layout = reading_of(section).layout
    place = locate("rows.csv", root=tmp_path)
    assert columns_of(place, file_format="auto", encoding="auto", layout=layout) == ["0", "1"]


def test_an_archive_of_one_file_is_that_file(tmp_path):
    content = table_of(ROWS).encode()
    (tmp_path / "rows.zip").write_bytes(zipped(content, names=("a.csv", "__MACOSX/._a.csv")))
    assert read(tmp_path, "rows.zip")[1] == ROWS
    (tmp_path / "two.zip").write_bytes(zipped(content, names=("a.csv", "b.csv")))
    with pytest.raises(DataError, match=r"two.zip is a zip archive of 2 files \(a.csv, b.csv\); one is read"):
        read(tmp_path, "two.zip")
    (tmp_path / "sheet.csv").write_bytes(zipped(content, names=("[Content_Types].xml", "xl/workbook.xml")))
    with pytest.raises(DataError, match=r"sheet.csv is an Excel workbook .*; set ingest.format=excel"):
        read(tmp_path, "sheet.csv")


def test_a_folder_and_a_pattern_name_the_files_in_them(tmp_path):
    folder = tmp_path / "months"
    folder.mkdir()
    for name, rows in (("b.csv", ROWS[6:]), ("a.csv", ROWS[:6]), ("_part.csv", ROWS), (".x.csv", ROWS)):
        (folder / name).write_text(table_of(rows), encoding="utf-8", newline="")
    (folder / "notes.md").write_text("no rows", encoding="utf-8")
    (tmp_path / "mixed").mkdir()
    for name in ("a.csv", "b.jsonl.gz"):
        (tmp_path / "mixed" / name).touch()
    with pytest.raises(DataError, match=r"is a folder \(it holds a.csv, b.jsonl.gz\); .* files of one format"):
        read(tmp_path, "mixed")
    for source in ("months", "months/*.csv", "mon*/[ab].csv", str(folder)):
        assert read(tmp_path, source)[1] == ROWS
    with pytest.raises(DataError, match=r"ingest.source: there is no file 'months/\*.tsv'"):
        read(tmp_path, "months/*.tsv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"ingest.source=empty is a folder \(it holds nothing\); name one file in it"):
        read(tmp_path, "empty")
    (folder / "test.csv").write_text(table_of(ROWS), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=r"would train the model; .* ingest.test_source=months/test.csv"):
        read(tmp_path, "months")
