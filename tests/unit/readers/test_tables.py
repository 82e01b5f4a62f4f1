import bz2
import csv
import gzip
import json
import lzma
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.errors import DataError
from secateur.readers.encodings import encoding_of
from secateur.readers.header import header_of
from secateur.readers.layout import Columns, Layout
from secateur.readers.tables import format_of, read_rows
from secateur.sources.compression import require_text

COLUMNS = Columns(text="text", label="label", confidence="sure")


def rows_of(path, *, columns=COLUMNS, encoding="utf-8"):
    return read_rows(path, file_format=format_of(path, "auto"), encoding=encoding, columns=columns).rows


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_the_four_formats_give_the_same_rows(tmp_path):
    csv = write(tmp_path / "a.csv", '\ufefftext,label,sure\n"a, ""b""\nc",1,0.5\n好,0,\n')
    tsv = write(tmp_path / "a.tsv", 'text\tlabel\tsure\n"a, ""b""\nc"\t1\t0.5\n好\t0\t\n')
    records = [{"text": 'a, "b"\nc', "label": 1, "sure": 0.5}, {"text": "好", "label": 0.0, "sure": None}]
    jsonl = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(r) for r in records) + "\n")
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.table({"sure": [0.5, None], "label": [1, 0], "text": ['a, "b"\nc', "好"]}), parquet)
    expected = {"text": ['a, "b"\nc', "好"], "label": ["1", "0"], "confidence": [0.5, None], "row": [0, 1]}
    for path in (csv, tsv, jsonl, parquet):
        assert rows_of(path).to_pydict() == expected, path.name


def test_numbers_as_text_stay_as_they_are_written(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\n007,b\nnull,a\n")
    table = rows_of(path, columns=Columns("text", "label", None))
    assert table["text"].to_pylist() == ["007", "null"]
    assert table["confidence"].to_pylist() == [None, None]


def test_half_a_surrogate_does_not_stop_the_reader(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x \\ud83d", "label": 1}\n{"text": "\\ud83d\\ude00", "label": 0}\n')
    assert rows_of(path, columns=Columns("text", "label", None))["text"].to_pylist() == ["x \ufffd", "\U0001f600"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x", "label": 1}\n{"text": "y", "label": 1, "label": 2}', "line 2 has two .* values under 'label'"),
        ('[{"text": "x", "label": 1}, {"text": "y", "text": "z", "label": 1}]', "row 2 has two .* values under 'text'"),
        ('{"text": {"0": "x", "0": "y"}, "label": {"0": 1}}', "a.jsonl has two different values under '0'; leave one"),
        ('{"0": {"text": "w"}, "1": {"text": "x"}, "1": {"text": "y"}}', "a.jsonl has two different values under '1'"),
    ],
)
def test_two_values_under_one_name_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        rows_of(write(tmp_path / "a.jsonl", content), columns=Columns("text", "label", None))


def test_what_is_said_twice_alike_or_elsewhere_is_read(tmp_path):
    rows = write(tmp_path / "a.jsonl", '{"text": "x", "id": 1, "label": 5, "label": 5, "id": 2}\n{"text": "y"}')
    assert rows_of(rows, columns=Columns("text", "label", None))["label"].to_pylist() == ["5", None]
    only = write(tmp_path / "b.jsonl", '{"text": "y", "label": {"a": 1, "b": 2, "b": 3}}')
    assert rows_of(only, columns=Columns("text", "label.a", None))["label"].to_pylist() == ["1"]
    with pytest.raises(DataError, match=r"b\.jsonl line 1 has two different values under 'b'"):
        rows_of(only, columns=Columns("text", "label.b", None))
    inside = write(tmp_path / "c.jsonl", '{"text": "y", "label": [{"a": 1, "b": 2, "b": 3}]}')
    assert rows_of(inside, columns=Columns("text", "label.0.a", None))["label"].to_pylist() == ["1"]
    with pytest.raises(DataError, match=r"c\.jsonl line 1 has two different values under 'b'"):
        rows_of(inside, columns=Columns("text", "label.0.b", None))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_the_character_nul_is_told(tmp_path, name):
    path, texts = tmp_path / name, ["fine", "cut\0 here", "and\0 there"]
    if name == "a.parquet":
        pq.write_table(pa.table({"text": texts, "label": [1, 2, 1]}), path)
    elif name == "a.csv":
        write(path, "text,label\n" + "".join(f"{text},{n}\n" for n, text in enumerate(texts)))
    else:
        write(path, "\n".join(json.dumps({"text": text, "label": 1}) for text in texts))
    found = read_rows(
        path, file_format=format_of(path, "auto"), encoding=None if name == "a.parquet" else "utf-8", columns=TWO
    )
    assert found.rows["text"].to_pylist() == texts
    assert found.remarks == (f"{name}: 2 texts hold the character NUL, which cleaning takes out (first: row 2)",)


def test_letters_of_two_bytes_are_not_taken_for_letters_and_nul(tmp_path):
    wide = "".join(f"{letter}\0" for letter in "of two bytes")
    path = write(tmp_path / "a.csv", f"text,label\nfine,a\n{wide},b\n")
    with pytest.raises(DataError, match=r"a.csv row 2 has NUL between its letters, .*ingest.encoding=utf-16-le"):
        rows_of(path, columns=TWO)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "body,label,sure\nx,1,1\n", r"a.csv has no column 'text'; its columns are: body, label, sure"),
        ("a.jsonl", '{"body": 1}\n{"tone": 2}\n', r"a.jsonl has no column 'text'; its columns are: body, tone"),
        ("a.csv", "text,text,label,sure\n", r"a.csv has 2 columns named 'text'; rename all but one"),
        ("a.csv", "text,label,sure\n", "a.csv has a header and no rows"),
        ("a.csv", "text,label,sure\nx,1\n", "a.csv line 2 cannot be read: it has 2 cells where the header has 3"),
        ("a.csv", "text,label,sure\nx,1,often\n", "'sure' holds something that is not a number.*often"),
        ("a.csv", "text,label,sure\nx,1,87\n", r"'sure' ranges from 87 to 87; it must lie in \[0, 1\]"),
        ("a.jsonl", '{"text": "x", "label": 1, "sure": 1}\n{oops\n', "a.jsonl line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl row 1 is a JSON int; each row must be an object"),
        ("a.jsonl", '{"text": 3, "label": 1, "sure": 1}\n', "a.jsonl line 1: 'text' holds int, not text"),
        ("a.jsonl", '{"text": "x", "label": [1, 2], "sure": 1}\n', "'label' holds lists: rows with several labels"),
        ("a.parquet", "text,label,sure\n", "a.parquet is not a Parquet file"),
    ],
)  # fmt: skip
def test_an_unreadable_table_is_explained_in_one_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        rows_of(write(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_text_that_is_no_text_is_refused(tmp_path):
    pq.write_table(pa.table({"text": [1], "label": [1], "sure": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64, not text"):
        rows_of(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "asked", "found"), [("a.tab", "csv", "tsv"), ("a.log", "jsonl", "jsonl"), ("A.CSV", "auto", "csv")]
)
def test_formats(tmp_path, name, asked, found):
    assert format_of(tmp_path / name, asked) == found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"text", "plain text, which has no labels"),
        ("a.dat", b"text", "the ending '.dat' says no format"),
        ("a.dat", b"PK\x03\x04rest", "a.dat cannot be unpacked: File is not a zip file"),
        ("a", b"PAR1....PAR1", "is a Parquet file; set ingest.format=parquet"),
    ],
)
def test_formats_that_cannot_be_used(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        format_of(tmp_path / name, "auto")


def test_a_file_that_is_not_utf8_names_the_byte_and_where_it_is(tmp_path):
    # The offset lies beyond the first chunk, behind a character that the chunk border cuts.
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * ((1 << 22) - 1) + "é".encode() + b"caf\xe9\n")
    with pytest.raises(
        DataError,
        match=r"a.csv is not UTF-8: byte 0xe9 at offset 4194308, in line 1; convert the file, or set ingest.encoding",
    ):
        encoding_of(path, asked="auto", kind="file")
    assert encoding_of(path, asked="auto", kind="package") == "latin-1"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_wide_encodings_are_recognised_by_their_mark(tmp_path, encoding):
    path = write(tmp_path / "a.csv", "text,label,sure\n好,1,1\n", encoding=encoding)
    assert encoding_of(path, asked="auto", kind="file") == encoding
    assert rows_of(path, encoding=encoding)["text"].to_pylist() == ["好"]


TWO = Columns("text", "label", None)
ROWS = [(f"tent {i} broke after two days", "bad") if i % 2 else (f"lamp {i} is a joy", "good") for i in range(20)]


def delimited(path, rows, *, delimiter=",", stray=None, at=7, label_first=False):
    """Write rows; in row ``at`` the text gets what ``stray`` makes of it."""
    lines = ["label,text" if label_first else "text,label"]
    for number, (text, label) in enumerate(rows):
        words = stray(text) if stray and number == at else text
        lines.append(f"{label},{words}" if label_first else f"{words},{label}")
    return write(path, "\n".join(lines).replace(",", delimiter) + "\n")


STRAYS = {"opens": lambda text: f'"{text}', "closes": lambda text: f'{text}"', "inside": lambda text: f'6" {text}'}


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("label_first", [True, False])
@pytest.mark.parametrize("at", [0, 7, 19])
def test_a_stray_quote_in_a_table_with_tabs_is_text(tmp_path, stray, label_first, at):
    path = delimited(tmp_path / "a.tsv", ROWS, delimiter="\t", stray=STRAYS[stray], at=at, label_first=label_first)
    found = read_rows(path, file_format="tsv", encoding="utf-8", columns=TWO)
    expected = [STRAYS[stray](text) if number == at else text for number, (text, _) in enumerate(ROWS)]
    assert found.rows["text"].to_pylist() == expected
    assert found.rows["label"].to_pylist() == [label for _, label in ROWS]
    assert [("was read as text" in remark) for remark in found.remarks] == ([True] if stray == "opens" else [])


@pytest.mark.parametrize("label_first", [True, False])
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("at", [0, 7, 19])
def test_a_quote_that_never_closes_costs_its_row_alone(tmp_path, label_first, delimiter, at):
    path = delimited(
        tmp_path / "a.csv", ROWS, delimiter=delimiter, stray=STRAYS["opens"], at=at, label_first=label_first
    )
    with pytest.raises(DataError, match=rf"a.csv line {at + 2} cannot be read: a quote opens a cell that never closes"):
        rows_of(path, columns=TWO)
    dropping = Layout(bad_rows="drop")
    found = read_rows(path, file_format="csv", encoding="utf-8", columns=TWO, layout=dropping)
    assert found.rows["text"].to_pylist() == [text for number, (text, _) in enumerate(ROWS) if number != at]
    assert f"1 row was dropped by ingest.bad_rows (line {at + 2})" in found.remarks[0]
    as_text = read_rows(path, file_format="csv", encoding="utf-8", columns=TWO, layout=Layout(quotes="text"))
    assert as_text.rows["text"].to_pylist()[at] == f'"{ROWS[at][0]}'


@pytest.mark.parametrize("last", [8, 9, 15])
@pytest.mark.parametrize("label_first", [True, False])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_two_quotes_far_apart_do_not_make_a_cell_of_the_rows_between(tmp_path, last, label_first, name):
    rows = list(ROWS)
    rows[7], rows[last] = (f'"{rows[7][0]}', rows[7][1]), (f'{rows[last][0]}"', rows[last][1])
    path = delimited(tmp_path / name, rows, delimiter="\t" if name == "a.tsv" else ",", label_first=label_first)
    if name == "a.csv":
        with pytest.raises(DataError, match=rf"line 9 .*a cell that holds whole rows, up to line {last + 2}"):
            rows_of(path, columns=TWO)
    else:
        assert rows_of(path, columns=TWO)["text"].to_pylist() == [text for text, _ in rows]


def test_a_quote_swallowed_by_quoted_neighbours_is_refused_by_its_line(tmp_path):
    lines = [f'"{text}, order {number}",{label}' for number, (text, label) in enumerate(ROWS)]
    lines[4] = lines[4].replace('",', ",")
    path = write(tmp_path / "a.csv", "text,label\n" + "\n".join(lines))
    with pytest.raises(DataError, match="line 6 cannot be read: a quote opens a cell that does not close in its row"):
        rows_of(path, columns=TWO)


def test_texts_of_several_lines_with_delimiters_are_read_and_told(tmp_path):
    rows = "".join(f'"Great, but\nnot, for me {i}",{"ab"[i % 2]}\n' for i in range(6))
    found = read_rows(
        write(tmp_path / "a.csv", "text,label\n" + rows), file_format="csv", encoding="utf-8", columns=TWO
    )
    assert found.rows.num_rows == 6
    assert found.remarks == ("a.csv: 6 rows have cells with line breaks and ',' in it (first: lines 2 to 3)",)


@pytest.mark.parametrize("lines", [2, 3, 5])
def test_texts_may_all_have_several_lines(tmp_path, lines):
    inside = "\n".join(["Great, but"] * lines)
    rows = "".join(f'"{inside}{i}",{"ab"[i % 2]}\n' for i in range(6))
    found = read_rows(
        write(tmp_path / "a.csv", "text,label\n" + rows), file_format="csv", encoding="utf-8", columns=TWO
    )
    assert found.rows["label"].to_pylist() == ["a", "b"] * 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,b,c", "it has 3 cells where the header has 2; quote a text that holds the delimiter"),
        ("a", "it has 1 cell where the header has 2; write all of its cells, or nothing"),
        ('"a,b', "a quote opens a cell that does not close in its row; double the"),
    ],
)
def test_too_many_bad_rows_are_no_accident(tmp_path, row, said):
    path = write(tmp_path / "a.csv", "text,label\n" + f"{row}\n" * 102 + "x,y\n")
    with pytest.raises(DataError, match=f"10[12] of 104 lines cannot be read; in line 2 .*{said}"):
        read_rows(path, file_format="csv", encoding="utf-8", columns=TWO, layout=Layout(bad_rows="drop"))


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_the_delimiter_is_found_by_the_header(tmp_path, delimiter):
    path = write(tmp_path / "a.csv", f"id{delimiter}text{delimiter}label\n1{delimiter}one, two{delimiter}a\n")
    assert rows_of(path, columns=TWO)["text"].to_pylist() == ["one, two"]


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_names_in_quotes_are_read_under_every_delimiter(tmp_path, delimiter):
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in (("text", "label"), ("a, b; c", "x"))]
    path = write(tmp_path / "a.csv", "\n".join(lines))
    assert header_of(path, tabs=False, encoding="utf-8", layout=Layout()) == ["text", "label"]
    assert rows_of(path, columns=Columns("text", "label", None))["text"].to_pylist() == ["a, b; c"]


@pytest.mark.parametrize("line", ["sep=^\r\n", '"sep=^"\n', "SEP=^\n"])
def test_a_line_of_excel_names_the_delimiter(tmp_path, line):
    path = write(tmp_path / "a.csv", f"\ufeff{line}text^label\na, b; c^x\n")
    assert header_of(path, tabs=False, encoding="utf-8", layout=Layout()) == ["text", "label"]
    assert rows_of(path, columns=Columns("text", "label", None))["label"].to_pylist() == ["x"]


def test_another_delimiter_can_be_set(tmp_path):
    path = write(tmp_path / "a.csv", "text~label\none, two~a\n")
    found = read_rows(path, file_format="csv", encoding="utf-8", columns=TWO, layout=Layout(delimiter="~"))
    assert found.rows["text"].to_pylist() == ["one, two"]


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda b: pa.compress(b, "zstd", asbytes=True),
}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_packed_files_are_read(tmp_path, ending, name):
    plain = tmp_path / name
    if name == "a.csv":
        write(plain, "text,label\n好,1\n")
    elif name == "a.jsonl":
        write(plain, '{"text": "好", "label": "1"}\n')
    else:
        pq.write_table(pa.table({"text": ["好"], "label": ["1"]}), plain)
    path = tmp_path / f"{name}.{ending}"
    path.write_bytes(PACKERS[ending](plain.read_bytes()))
    assert rows_of(path, columns=TWO).to_pydict()["text"] == ["好"]
    if name != "a.parquet":
        assert encoding_of(path, asked="auto", kind="file") == "utf-8"


def test_half_a_packed_file_is_refused(tmp_path):
    whole = gzip.compress(b"text,label\n" + bytes(range(32, 127)) * 50)
    (tmp_path / "a.csv.gz").write_bytes(whole[:60])
    with pytest.raises(DataError, match=r"a.csv.gz cannot be unpacked: .*; pack it anew"):
        encoding_of(tmp_path / "a.csv.gz", asked="auto", kind="file")


RECORDS = [{"text": "好 one", "label": 1}, {"text": "two", "label": 0}]


@pytest.mark.parametrize(
    "value",
    [
        RECORDS,
        {"data": RECORDS},
        {"version": 3, "tags": ["x"], "rows": RECORDS},
        {"text": {"0": "好 one", "1": "two"}, "label": {"0": 1, "1": 0}},
        {"text": ["好 one", "two"], "label": [1, 0]},
        {"columns": ["label", "text"], "index": [0, 1], "data": [[1, "好 one"], [0, "two"]]},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_what_pandas_and_label_tools_write_as_json_is_read(tmp_path, value, indent):
    path = write(tmp_path / "a.json", json.dumps(value, indent=indent))
    assert rows_of(path, columns=TWO).select(["text", "label"]).to_pydict() == {
        "text": ["好 one", "two"],
        "label": ["1", "0"],
    }


def test_a_label_may_be_absent_from_the_first_hundred_rows(tmp_path):
    lines = [json.dumps({"text": f"note {i}", "meta": [{"by": "x"}]}) for i in range(120)]
    lines += [json.dumps({"text": f"note {i}", "label": "ab"[i % 2]}) for i in range(6)]
    labels = rows_of(write(tmp_path / "a.jsonl", "\n".join(lines)), columns=TWO)["label"]
    assert (len(labels), labels.null_count) == (126, 120)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x", "label": 1}\n{"text": ', "a.json line 2 is not JSON"),
        ("[1, 2", "a.json is not JSON"),
        ("[" * 100_000, "a.json is not JSON"),
        ('{"a": 1}', "a.json has no column 'text'; its columns are: a"),
        (
            '{"a": [{"text": "x"}], "b": [{"text": "y"}]}',
            r"a.json holds several arrays of objects: a \(1 row\), b \(1 row\)",
        ),
        ('{"text": ["a", "b"], "label": [1]}', "the columns text, label do not have the same rows"),
        ("true", "a.json line 1 is a JSON bool"),
    ],
)
def test_json_that_holds_no_rows_is_explained(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        rows_of(write(tmp_path / "a.json", content), columns=TWO)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pa.array([Decimal("1"), Decimal("0"), Decimal("10")]), ["1", "0", "10"]),
        (pa.array([Decimal("1.50"), Decimal("0.00"), None]), ["1.5", "0", None]),
        (pa.array([True, False, None]), ["True", "False", None]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([1.0, 2.0, float("nan")]), ["1", "2", None]),
        (pa.array([1, 2, 3], pa.int8()), ["1", "2", "3"]),
        (pa.array(["b", "a", " "], pa.string_view()), ["b", "a", None]),
    ],
)
def test_labels_of_parquet(tmp_path, column, names):
    pq.write_table(pa.table({"text": ["x", "y", "z"], "label": column}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet", columns=TWO)["label"].to_pylist() == names


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_of_parquet(tmp_path, kind):
    texts = pa.array(["x", None, "z"], pa.string()).cast(kind)
    pq.write_table(pa.table({"text": texts, "label": [1, 2, 3]}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet", columns=TWO)["text"].to_pylist() == ["x", None, "z"]


def test_lists_of_labels_are_refused_in_words(tmp_path):
    pq.write_table(pa.table({"text": ["x"], "label": [["joy", "fear"]]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"holds lists: rows with several labels each \(multi-label\)"):
        rows_of(tmp_path / "a.parquet", columns=TWO)


def test_a_cell_larger_than_the_limit_of_the_csv_module_is_read(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\n" + "x" * 300_000 + ",a\n")
    assert len(rows_of(path, columns=TWO)["text"][0].as_py()) == 300_000
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"PK\x03\x04rest of an archive", "a.csv cannot be unpacked: File is not a zip file"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "a.csv is a pointer of Git LFS, not the rows"),
        ("a.csv", b"<!DOCTYPE html>\n<html>404", "a.csv is a web page"),
        ("a.csv", b"PAR1....PAR1", "a.csv is a Parquet file; set ingest.format=parquet"),
        ("a.csv", "text,label\nx,1\n".encode("utf-16-le"), "holds NUL bytes: .*set ingest.encoding=utf-16-le"),
        ("a.csv", b"\n\n", "a.csv has no column 'text'; its columns are: none"),
        ("a.csv", b'"text,label\nx,1\n', "a.csv has no readable header line"),
        ("a.csv", b"0,1\nx,y\n", "a.csv has no column 'text'; its columns are: 0, 1"),
        ("a.csv", b"text\nx\n", "a.csv has no column 'label'; its columns are: text"),
    ],
)
def test_odd_files_are_explained(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        require_text(tmp_path / name)
        rows_of(tmp_path / name, columns=TWO)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"])
def test_line_ends_may_be_mixed(tmp_path, ends):
    path = write(tmp_path / "a.csv", f"text,label{ends}x,1\r\ny,2\nz,3{ends}")
    assert rows_of(path, columns=TWO)["text"].to_pylist() == ["x", "y", "z"]
