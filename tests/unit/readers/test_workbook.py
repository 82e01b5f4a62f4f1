"""Excel and OpenDocument workbooks: what openpyxl writes reads back, and what is doubtful is told or refused."""

import base64
import datetime
import io
import random
import zipfile
import zlib

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from secateur.config.ingest import IngestSection
from secateur.data.acquisition import check_rows
from secateur.errors import DataError
from secateur.readers import workbook_cells
from secateur.readers.columns import columns_of
from secateur.readers.layout import Columns, Layout
from secateur.readers.pairs import SEPARATOR
from secateur.readers.reading import Reading, reading_of
from secateur.readers.row_files import open_rows
from secateur.readers.workbook_errors import address
from secateur.sources.locations import locate
from tests.unit.readers.test_dialects import PACKED

# Rows (text, label, stars): ("good é好", "007", 5), ("bad", "1E30", 1.5), ("so so", 2, none), written by xlwt 1.3.0.
OLD = zlib.decompress(base64.b85decode(
    r"c-rk)O=uHA6#izD%^zu+)U?nFB^0b$dr0X)FYT&Odk{<Q#b3~k2_g-NBmsXwt=1d`!IR>p(2JL<7k|)$-aH5uJqUu3=t%@YQ1H-Z"
    r"ee-r!6V0IkE&lAc%$qlF-Z%4h=Vy2J*<!3Rce|&GA213JYE}@wI-8&rbP7>Wy=6(&$pe%u7k?Fk0UAi3jt6Z|{c;TDcvqp}miIA9"
    r";0>jNIF5;YE|XYAZ08tEA!8UJDR7-E5p;7@9W0NqT*LAvdp=~jl`WT8j*xFf?8l-pF|b9=;=NiQ*F_-Py~~_eY#Bl)p2%5z?y|6b"
    r"b!;mfGqZnYMXxuEdC<6xXL6Z>nXMpB12~V*Rs#6stkg#d*S@-T0kVH-wELUbuV`Li2G(Jo;AMpI!6R$Dn983hE@3BcsR6d2lsQ?_"
    r"fvlOzWGOF}%tFx*aTIyF($w-hoY_b8WO6gfl$j>Z(AaQN`sNeGd`RxzyxOA;tG$g^L6~G3?X1UmEkvo~r5hig?@CP?huAX1q1f+%"
    r"bux5VI4>DQj=&CFLf*pwGd8ijz^$%jy@zF-W-#UblbuT0G0Q#|xwfDB8D_jN*4OD9NH4$NeXqCt*4Rk;!g%#`eBq@rhdz2QrHL=E"
    r"SqzFnaqX(aeZ$Fx+B06W?EY#02xw6iyQN-s?N~;L)fh{=B%hA>R?^h7l5Ek0Etu_5{({-^8J*Q+NwT{XTWiABn5`?eJu*JU)|h=j"
    r"v)LYwrIGDnwqN;sm@Q)-)jDuTHck8FcZA@=g$oxhT)1%I;(vhPFGu^EU4EJB>QvxY|8<rr)!g4C|175X_*kOj;}~+37jUYj`O^hm"
    r"IBkg)a-9E#5__ok0;ZATIHp^kzjUe-_4l)4V)WN7p;r5^wG!uV?*A(kGt)c"
))  # fmt: skip
_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns"
ODS = f"""<?xml version="1.0"?>
<office:document-content xmlns:office="{_NAMESPACE}:office:1.0" xmlns:table="{_NAMESPACE}:table:1.0"
 xmlns:text="{_NAMESPACE}:text:1.0"><office:body><office:spreadsheet><table:table table:name="Rows">%s</table:table>
</office:spreadsheet></office:body></office:document-content>"""
HEADER = ["text", "label"]


def read(folder, source, **params):
    section = IngestSection(**({"text_column": "text", "label_column": "label"} | params), source=source)
    found = check_rows(section.source, reading_of(section), root=folder, min_labels=0)
    return list(zip(found.rows["text"].to_pylist(), found.rows["label"].to_pylist(), strict=True)), found.remarks


def written(path, **sheets):
    """Write sheets of rows; a name that starts with an underscore is hidden."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        sheet.sheet_state = "hidden" if name.startswith("_") else "visible"
    book.save(path)
    return book


def ods(path, rows):
    def cell(value):
        kind = "string" if isinstance(value, str) else f'float" office:value="{value}'
        return f'<table:table-cell office:value-type="{kind}"><text:p>{value}</text:p></table:table-cell>'

    written = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", ODS % written)
        archive.writestr("META-INF/manifest.xml", f'<m:manifest xmlns:m="{_NAMESPACE}:manifest:1.0"/>')


def test_text_stays_text_and_numbers_lose_a_fraction_of_zero(tmp_path):
    written(
        tmp_path / "a.xlsx",
        Rows=[
            HEADER,
            [" good ", "007"],
            ["bad\nbad", "1E30"],
            ["c", 5],
            ["d", 0.5],
            ["e", True],
            ["f", None],
            [None, "x"],
        ],
    )
    assert read(tmp_path, "a.xlsx") == (
        [(" good ", "007"), ("bad\nbad", "1E30"), ("c", "5"), ("d", "0.5"), ("e", "True"), ("f", None), (None, "x")],
        ("1 of 7 rows have no label in 'label', and are left out",),
    )


def test_the_old_and_the_open_format(tmp_path):
    (tmp_path / "a.xls").write_bytes(OLD)
    assert read(tmp_path, "a.xls")[0] == [("good é好", "007"), ("bad", "1E30"), ("so so", "2")]
    ods(tmp_path / "a.ods", [HEADER, ["good é好", "007"], ["bad", 3.0]])
    assert read(tmp_path, "a.ods")[0] == [("good é好", "007"), ("bad", "3")]


def test_numbers_and_dates_among_texts_are_text_and_told(tmp_path):
    day = datetime.datetime(2024, 1, 2, 3, 4)
    written(tmp_path / "a.xlsx", Rows=[HEADER, ["good", "a"], [2024, "b"], [0.5, "a"], [day, "b"]])
    rows, remarks = read(tmp_path, "a.xlsx")
    assert rows == [("good", "a"), ("2024", "b"), ("0.5", "a"), ("2024-01-02T03:04:00", "b")]
    assert remarks == ("a.xlsx, sheet 'Rows': 3 of 4 texts are numbers or dates, and are read as text",)


def test_what_stands_above_the_header_is_left_out_and_told(tmp_path):
    rows = [["Report of March", None], [], ["id", " text ", "label"], [1, "good", "a"], [], [2, "bad", "b"]]
    written(tmp_path / "a.xlsx", Rows=rows)
    assert read(tmp_path, "a.xlsx") == (
        [("good", "a"), ("bad", "b")],
        ("a.xlsx: the columns have their names in row 3; what stands above is left out",),
    )
    location = locate("a.xlsx", root=tmp_path)
    assert columns_of(location, file_format="auto", encoding="auto", layout=Layout()) == ["id", "text", "label"]


def test_a_cell_that_spans_rows_is_in_each_of_them(tmp_path):
    book = written(tmp_path / "a.xlsx", Rows=[HEADER, ["a", "x"], ["b", None], ["c", None], ["d", "y"]])
    book["Rows"].merge_cells("B2:B4")
    book.save(tmp_path / "a.xlsx")
    assert read(tmp_path, "a.xlsx")[0] == [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")]


def test_the_sheet_that_has_the_columns_is_read_and_the_others_are_told(tmp_path):
    written(
        tmp_path / "a.xlsx",
        _Old=[HEADER, ["hidden", "z"]],
        About=[["what", "why"], ["text", "words"]],
        March=[HEADER, ["good", "a"], ["bad", "b"]],
        April=[HEADER, ["fine", "a"]],
        Empty=[],
    )
    rows, remarks = read(tmp_path, "a.xlsx")
    assert rows == [("good", "a"), ("bad", "b")]
    assert remarks == (
        "a.xlsx: the sheet 'March' was read and no other ('About' (2 rows), 'April' (2 rows), '_Old' (2 rows)); "
        "ingest.sheet names one",
    )
    for asked in ("April", 4):
        assert read(tmp_path, "a.xlsx", sheet=asked) == ([("fine", "a")], ())
    assert read(tmp_path, "a.xlsx", sheet="_Old")[0] == [("hidden", "z")]
    for asked, said in (("May", "has no sheet 'May'"), ("Empty", "has nothing in the sheet 'Empty'")):
        with pytest.raises(
            DataError, match=rf"a\.xlsx {said} \(ingest.sheet\); its filled sheets are '_Old' \(2 rows\)"
        ):
            read(tmp_path, "a.xlsx", sheet=asked)
    with pytest.raises(
        DataError, match=r"sheet 'About' \(or 'March' .*has no column 'body'; its columns are: what, why"
    ):
        read(tmp_path, "a.xlsx", text_column="body")


def test_without_a_header_columns_are_numbers(tmp_path):
    written(tmp_path / "a.xlsx", Rows=[["good", "a"], ["bad", "b"]])
    params = {"header": False, "text_column": 0, "label_column": 1}
    assert read(tmp_path, "a.xlsx", **params)[0] == [("good", "a"), ("bad", "b")]


@pytest.mark.parametrize("params", [{}, {"header": False, "text_column": 1, "label_column": 2}])
def test_errors_among_the_values_are_told(tmp_path, params):
    rows = [[], [None, "id", *HEADER, "other"], [None, 1, "good", "a", "#REF!"], [None, 2, "#N/A", "b", 1], [],
            [None, 3, "fine", "#DIV/0!", 2], [None, 4, "#N/A of them", "a", 3]]  # fmt: skip
    written(tmp_path / "a.xlsx", Rows=rows)
    found, remarks = read(tmp_path, "a.xlsx", **params)
    assert found[-4:] == [("good", "a"), (None, "b"), ("fine", None), ("#N/A of them", "a")]
    assert remarks[-2] == (
        "a.xlsx, sheet 'Rows': 2 cells hold an error (#N/A, #REF! and the like) in the columns that are read, and "
        "count as empty (first: C4)"
    )
    assert address(6, 27) == "AB7"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER, ["good", datetime.date(2024, 2, 1)]], "label column 'label' holds a date .2024-02-01., which spread"),
        ([HEADER, [1, "a"], [2, "b"]], "column 'text' holds numbers or dates, not text"),
        ([HEADER, ['=A9&"x"', "a"], ['=A8&"x"', "b"]], "column 'text' is empty; where formulas stand in it"),
        ([[*HEADER, "text"], ["good", "a", "x"]], "has 2 columns named 'text'; rename all but one"),
        ([HEADER], "a.xlsx has a header and no rows"),
        ([[]], "a.xlsx has no sheet with a filled cell"),
    ],
)
def test_what_cannot_be_right_is_one_line(tmp_path, rows, message):
    written(tmp_path / "a.xlsx", Rows=rows)
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.xlsx")


def test_a_file_that_is_no_workbook_says_what_would_work(tmp_path):
    (tmp_path / "a.xls").write_text("text\tlabel\ngood\ta\n")
    with pytest.raises(DataError, match=r"a\.xls is called like a workbook and is none.*set ingest\.format"):
        read(tmp_path, "a.xls")
    assert read(tmp_path, "a.xls", format="csv")[0] == [("good", "a")]
    written(tmp_path / "a.csv", Rows=[HEADER, ["good", "a"]])
    with pytest.raises(DataError, match=r"a\.csv is an Excel workbook .*set ingest\.format=excel"):
        read(tmp_path, "a.csv")
    assert read(tmp_path, "a.csv", format="excel")[0] == [("good", "a")]


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    written(tmp_path / "a.xlsx", Rows=[HEADER, ["good", "a"]])
    monkeypatch.setattr(workbook_cells, "_LIBRARY", "calamine_that_is_not_there")
    with pytest.raises(
        DataError, match=r"a\.xlsx is a workbook, .*extra excel.*: pip install python-calamine, or save"
    ):
        read(tmp_path, "a.xlsx")


@pytest.mark.parametrize("ending", sorted(PACKED))
def test_all_columns_come_with_their_types(tmp_path, ending):
    day = datetime.date(2024, 1, 2)
    stream = io.BytesIO()
    written(stream, Rows=[["", "text", "when", "n", "mixed"], [0, "good", day, 1, "x"], [1, None, day, 2.5, 7]])
    (tmp_path / f"a.xlsx{ending}").write_bytes(PACKED[ending](stream.getvalue()))
    rows = open_rows(str(tmp_path / f"a.xlsx{ending}"), Reading(columns=Columns("text", None, None)))
    found = [record for batch in rows.batches(1) for record in batch.to_pylist()]
    assert found == [
        {"": 0, "text": "good", "when": "2024-01-02", "n": 1.0, "mixed": "x"},
        {"": 1, "text": None, "when": "2024-01-02", "n": 2.5, "mixed": "7"},
    ]
    assert rows.num_rows == 2


TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters=SEPARATOR), min_size=1, max_size=20
).filter(
    # Of blanks alone openpyxl makes a text, and calamine an empty cell.
    lambda text: (
        text.strip() and not ILLEGAL_CHARACTERS_RE.search(text) and not text.startswith("=") and "_x" not in text
    )
)
VALUES = st.one_of(TEXTS, st.integers(-(2**50), 2**50), st.booleans(), st.sampled_from(["007", "1E30", "nan", "5.0"]))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, VALUES), min_size=1, max_size=6), above=st.integers(0, 3), left=st.integers(0, 2))
def test_what_openpyxl_writes_reads_back(tmp_path_factory, rows, above, left):
    folder = tmp_path_factory.mktemp("book")
    table = [[None] * left + list(row) for row in [HEADER, *rows]]
    written(folder / "a.xlsx", Rows=[[]] * above + table)
    again = openpyxl.load_workbook(folder / "a.xlsx", data_only=True)["Rows"].iter_rows(values_only=True)
    expected = [
        (text, (str(label).strip() or None) if label is not None else None)
        for text, label in [tuple(row[left : left + 2]) for row in again][above + 1 :]
    ]
    found, _ = read(folder, "a.xlsx")
    assert [(one, label) for one, label in found] == expected


@pytest.mark.parametrize("ending", [".xls", ".xlsx", ".ods"])
def test_a_damaged_workbook_is_read_or_one_line(tmp_path, ending):
    sound = tmp_path / f"sound{ending}"
    if ending == ".xlsx":
        written(sound, Rows=[HEADER, *([f"words {n}", str(n % 2)] for n in range(9))])
    elif ending == ".ods":
        ods(sound, [HEADER, *([f"words {n}", str(n % 2)] for n in range(9))])
    else:
        sound.write_bytes(OLD)
    content, chance, outcomes = sound.read_bytes(), random.Random(ending), set()
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 4, 30])):
            damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(8, len(damaged)) :]
        (tmp_path / f"a{ending}").write_bytes(damaged)
        try:
            read(tmp_path, f"a{ending}")
            outcomes.add("read")
        except DataError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes
