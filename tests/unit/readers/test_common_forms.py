"""Forms in which rows come from other programs: each is read to the right rows, or refused in words that help."""

import gzip
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.config.ingest import IngestSection
from secateur.data.acquisition import check_rows
from secateur.errors import DataError
from secateur.kinds.registry import kind_named
from secateur.readers.class_names import declared_classes
from secateur.readers.columns import columns_of, guess_columns
from secateur.readers.label_cells import possible_separator
from secateur.readers.label_sets import labels_in
from secateur.readers.label_spelling import LabelRules, settle_labels
from secateur.readers.labels import SeveralLabels
from secateur.readers.layout import Layout
from secateur.readers.numbers import but_for, settle_numbers
from secateur.readers.reading import reading_of
from secateur.sources.locations import locate

ROWS = [(f"text {number}, it is", "good" if number % 2 else "bad") for number in range(6)]


def read(folder, source, **params):
    section = IngestSection(**({"text_column": "text", "label_column": "label"} | params), source=source)
    found = check_rows(section.source, reading_of(section), root=folder, min_labels=0)
    return list(zip(found.rows["text"].to_pylist(), found.rows["label"].to_pylist(), strict=True)), found.remarks


def names_in(folder, name):
    return columns_of(locate(name, root=folder), file_format="auto", encoding="auto", layout=Layout())


def csv_of(rows=ROWS, *, head='"text","label"'):
    return "\n".join([head, *(f'"{text}","{label}"' for text, label in rows)]) + "\n"


@pytest.mark.parametrize("title", ["# written by a tool\n# on a Monday\n", "Report, of a year\n\n"])
def test_a_header_below_some_lines_is_found_and_told(tmp_path, title):
    (tmp_path / "a.csv").write_text(title + csv_of())
    rows, remarks = read(tmp_path, "a.csv")
    assert rows == ROWS and "the columns have their names in line 3; " in remarks[0]
    if title.startswith("#"):
        assert names_in(tmp_path, "a.csv") == ["text", "label"]


def test_a_column_called_number_sign_is_no_comment(tmp_path):
    (tmp_path / "a.csv").write_text("#,text,label\n1,a,b\n")
    assert names_in(tmp_path, "a.csv") == ["#", "text", "label"]
    assert read(tmp_path, "a.csv") == ([("a", "b")], ())


def test_apostrophes_enclose_cells_where_they_enclose_the_names(tmp_path):
    written = "".join(f"'{text}','{label}'\n" for text, label in [("text", "label"), *ROWS, ("it''s, so", "bad")])
    (tmp_path / "a.csv").write_text(written)
    rows, remarks = read(tmp_path, "a.csv")
    assert rows == [*ROWS, ("it's, so", "bad")] and "an apostrophe was read as enclosing cells" in remarks[0]
    assert names_in(tmp_path, "a.csv") == ["text", "label"]
    (tmp_path / "a.csv").write_text(written.replace("'text 3", "'text 'n' 3"))
    with pytest.raises(DataError, match=r"line 5 cannot be read: .*; double the ' inside cells"):
        read(tmp_path, "a.csv")


@pytest.mark.parametrize(("head", "row"), [("text,label", "1,{},{}"), ("text,label", "{},{},")])
def test_rows_that_all_have_one_cell_more_than_the_header_are_explained(tmp_path, head, row):
    (tmp_path / "a.csv").write_text("\n".join([head, *(row.format(n, "b") for n in range(9))]))
    with pytest.raises(DataError, match=r"no row can be read: in line 2 it has 3 cells .* one of row numbers as well"):
        read(tmp_path, "a.csv")


def test_wide_letters_without_a_mark_and_a_letter_of_another_encoding_are_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(csv_of([("schön", "gut")] * 3).encode("utf-16-le"))
    with pytest.raises(DataError, match=r"looks like utf-16-le without a mark, which ingest.encoding=utf-16-le reads"):
        read(tmp_path, "a.csv")
    assert read(tmp_path, "a.csv", encoding="utf-16-le")[0] == [("schön", "gut")] * 3
    (tmp_path / "a.csv").write_bytes(csv_of().encode() + "schön,gut\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"in line 8; convert the file"):
        read(tmp_path, "a.csv")


def test_what_is_packed_twice_is_named(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(gzip.compress(csv_of().encode())))
    with pytest.raises(DataError, match="is packed twice; unpack it once"):
        read(tmp_path, "a.csv.gz")


@pytest.mark.parametrize("indent", [1, None])
def test_objects_one_after_another_are_rows(tmp_path, indent):
    objects = [json.dumps({"text": text, "label": label}, indent=indent) for text, label in ROWS]
    (tmp_path / "a.json").write_text((" " if indent is None else "\n").join(objects))
    assert read(tmp_path, "a.json")[0] == ROWS and names_in(tmp_path, "a.json") == ["text", "label"]
    (tmp_path / "a.json").write_text("\n".join(objects)[:-3])
    with pytest.raises(DataError, match=r"a.json (row|line) 6 is not JSON"):
        read(tmp_path, "a.json")


def test_rows_by_their_index_have_names_and_columns_too(tmp_path):
    rows = {str(number): {"text": text, "label": label} for number, (text, label) in enumerate(ROWS)}
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert names_in(tmp_path, "a.json") == ["text", "label"] and read(tmp_path, "a.json")[0] == ROWS
    columns = {name: {key: row[name] for key, row in rows.items()} for name in ("text", "label")}
    (tmp_path / "a.json").write_text(json.dumps(columns))
    assert names_in(tmp_path, "a.json") == ["text", "label"] and read(tmp_path, "a.json")[0] == ROWS


def test_several_arrays_are_named(tmp_path):
    rows = [{"text": text, "label": label} for text, label in ROWS]
    (tmp_path / "a.json").write_text(json.dumps({"train": rows, "test": rows[:2]}))
    for look in (read, names_in):
        with pytest.raises(DataError, match=r"several arrays of objects: train \(6 rows\), test \(2 rows\)"):
            look(tmp_path, "a.json")


@pytest.mark.parametrize("form", ["parquet", "json", "csv"])
def test_lists_of_one_label_each_are_labels(tmp_path, form):
    def write(labels):
        lists = [[label] if isinstance(label, str) else label for label in labels]
        if form == "parquet":
            pq.write_table(pa.table({"text": texts, "label": lists}), tmp_path / "a.parquet")
        elif form == "json":
            (tmp_path / "a.json").write_text(
                json.dumps([{"text": t, "label": one} for t, one in zip(texts, lists, strict=True)])
            )
        else:
            cells = [f'{text},"{found}"' for text, found in zip(texts, lists, strict=True)]
            (tmp_path / "a.csv").write_text("\n".join(["text,label", *cells]))

    texts = [f"text {number}" for number in range(4)]
    write(["a", "b", "a", []])
    rows, remarks = read(tmp_path, f"a.{form}")
    assert [label for _, label in rows] == ["a", "b", "a", None]
    assert any("are lists of one label each" in remark for remark in remarks)
    write(["a", "b", "a", ["a", "b"]])
    with pytest.raises(SeveralLabels):
        read(tmp_path, f"a.{form}")


@pytest.mark.parametrize("label", [r'"\ud83d"', r'["\ud83d"]'])
def test_half_of_a_surrogate_in_a_label_is_a_sign_that_cannot_be_read(tmp_path, label):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "x", "label": {label}}}\n')
    assert read(tmp_path, "a.jsonl")[0] == [("x", "\ufffd")]


def test_objects_and_dates_as_labels_say_what_would_work(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"text": "x", "label": {"id": 1}}]))
    with pytest.raises(DataError, match=r"holds objects, and takes text or numbers; label.id names a value in them"):
        read(tmp_path, "a.json")
    pq.write_table(pa.table({"text": ["x"], "label": pa.array([0], pa.date32())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="holds dates or times; where these are names, write them as text"):
        read(tmp_path, "a.parquet")


def test_lines_of_fasttext_have_labels(tmp_path):
    lines = ["__label__good it works", "", "__label__bad it, does not", "__label__bad"]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"set ingest\.format=fasttext"):
        read(tmp_path, "a.txt")
    assert read(tmp_path, "a.txt", format="fasttext")[0] == [("it works", "good"), ("it, does not", "bad"), ("", "bad")]
    (tmp_path / "a.txt").write_text("__label__a __label__b two\n__label__a one\n")
    with pytest.raises(SeveralLabels):
        read(tmp_path, "a.txt", format="fasttext")


def settled(labels, **rules):
    return settle_labels(pa.table({"label": pa.array(labels)}), LabelRules(**rules), column="label")


def test_letters_that_are_drawn_alike_are_told_so_that_they_differ():
    told = r"labels that look alike: 'data' (2 rows) = 'd\u0430ta' (1 row)"
    (remark,) = settled(["data", "data", "d\u0430ta", "bar"]).remarks
    assert remark.startswith(told)
    assert settled(["data", "data", "d\u0430ta"], lookalike_labels="merge").rows["label"].to_pylist() == ["data"] * 3
    assert r"'cafe\u0301' (1 row) = 'caf\xe9' (1 row)" in settled(["caf\u00e9", "cafe\u0301"]).remarks[0]
    assert settled(["положительный", "отрицательный"]).remarks == ()


def test_words_for_nothing_of_other_languages_are_told():
    assert "'k.A.' (1 row)" in settled(["gut", "schlecht", "k.A."]).remarks[0]


@pytest.mark.parametrize("text_first", [True, False])
def test_a_blank_before_a_quote_is_no_part_of_the_cell_and_told(tmp_path, text_first):
    order = (lambda text, label: (text, label)) if text_first else (lambda text, label: (label, text))
    lines = [", ".join(f'"{cell}"' for cell in order(*row)) for row in [("text", "label"), *ROWS]]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    rows, remarks = read(tmp_path, "a.csv")
    assert rows == ROWS and "a blank at the beginning of a cell is none of it" in remarks[0]
    (tmp_path / "b.tsv").write_text("label\ttext\n" + "".join(f'a\t "so" he said {n}\n' for n in range(6)))
    rows, remarks = read(tmp_path, "b.tsv")
    assert rows[0] == (' "so" he said 0', "a") and not remarks, "a text may begin with a word in quotes"


def test_quotes_of_a_typesetter_enclose_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"“so, it is”,{n}\n" for n in range(4)))
    with pytest.raises(DataError, match=r'no row can be read: .*; “ encloses nothing in a table: write " in place'):
        read(tmp_path, "a.csv")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("['a' 'b']|['a']", "a list needs commas between its labels"),
        ("[1, 0, 0]|[0, 1, 1]", "lists of 3 zeros and ones, one for each label, and nothing says how these are called"),
        ("[[0, 3, 'x'], [4, 9, 'y']]|[[0, 2, 'x']]", "lists in lists, as labels of words or passages are written"),
    ],
)
def test_lists_that_name_no_labels_are_refused(tmp_path, cells, said):
    lines = [json.dumps({"text": f"a text {n}", "label": cells.split("|")[n % 2]}) for n in range(6)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    section = IngestSection(source="a.jsonl", text_column="text", label_column="label")
    with pytest.raises(DataError) as error:
        check_rows("a.jsonl", reading_of(section, kind_named("multi_label")), root=tmp_path)
    assert said in str(error.value)
    if "commas" in said:
        with pytest.raises(DataError, match=said):
            read(tmp_path, "a.jsonl")  # Python would make one word of two


def test_cells_that_may_hold_several_labels_are_named_and_taken_as_they_are():
    assert possible_separator(["2,5", "2", "5", "27", "27,2,5"]) == (",", "2,5")
    assert possible_separator(["a/b", "a", "b", "c/a", "c"]) == ("/", "a/b")
    assert possible_separator(["#a #b", "#a", "#b", "#c #a", "#c"]) == (" ", "#a #b")
    assert possible_separator(["1,5", "2,25", "3"]) is None and possible_separator(["R&D", "sales"]) is None


def test_words_for_nothing_in_place_of_texts_and_sets_that_python_prints_are_told(tmp_path):
    (tmp_path / "a.csv").write_text(csv_of([*ROWS, ("nan", "good"), (" NULL", "bad"), ("nan", "good")]))
    assert "3 texts are words for none, such as 'nan'" in " ".join(read(tmp_path, "a.csv")[1])
    (tmp_path / "b.csv").write_text(
        csv_of([(text, "{'a', 'b'}" if n % 2 else "{'a'}") for n, (text, _) in enumerate(ROWS)])
    )
    assert "look like what Python prints of sets" in " ".join(read(tmp_path, "b.csv")[1])


def test_notes_of_the_system_in_an_archive_do_not_count(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data/a.csv", csv_of())
        archive.writestr("data/.DS_Store", "x")
    assert read(tmp_path, "a.zip")[0] == ROWS


def test_a_name_that_begins_like_somebodys_home_is_a_name(tmp_path):
    (tmp_path / "~nobody.csv").write_text(csv_of())
    assert read(tmp_path, "~nobody.csv")[0] == ROWS


def test_what_python_prints_and_folders_that_hold_values_say_what_would_work(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f"{ {'text': text, 'label': label} }\n" for text, label in ROWS))
    with pytest.raises(DataError, match=r"not JSON: .*json\.dumps writes them as JSON"):
        read(tmp_path, "a.jsonl")
    (tmp_path / "set/label=good").mkdir(parents=True)
    with pytest.raises(DataError, match="folders such as label=good say the value of a column that their files lack"):
        read(tmp_path, "set")


def test_an_encoding_that_the_file_very_likely_has_not_is_told(tmp_path, caplog):
    (tmp_path / "a.csv").write_text(csv_of([("schön", "gut")] * 3), encoding="utf-8")
    read(tmp_path, "a.csv", encoding="cp1252")
    assert "read as cp1252 (ingest.encoding), and all of it is UTF-8" in caplog.text
    caplog.clear()
    (tmp_path / "b.csv").write_bytes(csv_of([("schön", "gut")] * 3).encode("cp1252"))
    assert read(tmp_path, "b.csv", encoding="cp1252")[0] == [("schön", "gut")] * 3 and not caplog.text


def test_rows_that_judge_without_a_label_are_named(tmp_path):
    (tmp_path / "a.csv").write_text(csv_of())
    (tmp_path / "test.csv").write_text(csv_of([(f"{text} too", "") for text, _ in ROWS]))
    section = IngestSection(source="a.csv", text_column="text", label_column="label")
    with pytest.raises(DataError, match=r"ingest\.test_source has no row with a label in 'label'"):
        check_rows("a.csv", reading_of(section), root=tmp_path, given={"test": "test.csv"})


def test_numbers_but_for_a_few_words_are_known_as_such():
    cells = [f"{number * 0.31:.2f}" for number in range(90)]
    assert but_for([*cells, "nan", "nan", None]) == ("nan", 2)
    assert but_for(cells) is None and but_for([*"12345" * 9, "nan"]) is None
    with pytest.raises(DataError, match="which is no number; write it alone"):
        settle_numbers(pa.table({"label": pa.array(["$4.50"])}), column="price")


def test_strings_of_a_damaged_page_are_refused_before_anything_looks_at_their_letters():
    from secateur.readers.parquet import _as_text

    ends, letters = pa.py_buffer(b"\0\0\0\0\x02\0\0\0"), pa.py_buffer(b"\xff\xfe")
    damaged = pa.chunked_array([pa.Array.from_buffers(pa.string(), 1, [None, ends, letters])])
    with pytest.raises(DataError, match=r"^f.parquet: column 'c' holds bytes that are not UTF-8; write it as text"):
        _as_text(damaged, column="c", file="f.parquet")
    assert _as_text(pa.chunked_array([pa.array(["ä", None])]), column="c", file="f.parquet").to_pylist() == ["ä", None]


def write_declared(path, labels, kind):
    feature = {"names": ["World", "Sports"], "_type": "ClassLabel"}
    declared = {"label": feature if kind == pa.int64() else {"feature": feature, "_type": "List"}}
    table = pa.table({"text": [text for text, _ in ROWS], "label": pa.array(labels, kind)})
    said = json.dumps({"info": {"features": declared | {"text": {"dtype": "string", "_type": "Value"}}}})
    pq.write_table(table.replace_schema_metadata({"huggingface": said}), path)


def test_names_that_a_file_declares_for_its_labels_are_told_and_taken_when_asked(tmp_path):
    write_declared(tmp_path / "a.parquet", [0, 1, -1, 0, 1, None], pa.int64())
    found, remarks = read(tmp_path, "a.parquet")
    assert [label for _, label in found] == ["0", "1", "-1", "0", "1", None]
    assert "has names for the numbers in 'label' (0 = World, 1 = Sports): ingest.class_names=true" in remarks[0]
    found, remarks = read(tmp_path, "a.parquet", class_names=True)
    assert [label for _, label in found] == ["World", "Sports", None, "World", "Sports", None]
    assert "names the numbers in 'label', and the names are taken: 0 = World" in remarks[0]
    write_declared(tmp_path / "a.parquet", [0, 1, 2, 0, 1, 0], pa.int64())
    with pytest.raises(DataError, match=r"holds 2, and the file names classes 0 to 1; ingest.class_names=false"):
        read(tmp_path, "a.parquet", class_names=True)


def test_names_of_lists_are_taken_as_well_and_damaged_ones_do_not_count(tmp_path):
    write_declared(tmp_path / "a.parquet", [[0], [1, 0], [], [1], [0, 1], [0]], pa.list_(pa.int64()))
    section = IngestSection(source="a.parquet", text_column="text", label_column="label", class_names=True)
    reading = reading_of(section, kind_named("multi_label"))
    rows = check_rows("a.parquet", reading, root=tmp_path, min_labels=0).rows
    assert [labels_in(label) for label in rows["label"].to_pylist()] == [
        ["World"], ["Sports", "World"], [], ["Sports"], ["Sports", "World"], ["World"]
    ]  # fmt: skip
    for said in (b"{", b"[]", b'{"info": {"features": []}}', b'{"info": {"features": {"label": null}}}', b"\xff"):
        assert declared_classes({b"huggingface": said}) == {}
    assert declared_classes(None) == {}


def test_lines_of_fasttext_become_a_project_without_any_column_named(tmp_path):
    from secateur.scaffolding.origin import origin_of
    from secateur.scaffolding.setting_up import columns
    from secateur.scaffolding.wish import Wish

    (tmp_path / "a.txt").write_text("".join(f"__label__{label} {text}\n" for text, label in ROWS))
    for task in (None, "regression"):
        wish = Wish(root=tmp_path / "p", source="a.txt", here=tmp_path, task=task)
        guess = columns(wish, origin_of("a.txt", root=wish.root, here=tmp_path))
        assert (guess.texts, guess.label) == (("text",), "label")


@pytest.mark.parametrize("around", [("response", "docs"), ("hits", "hits"), ("results", "items")])
def test_rows_in_an_object_of_an_answer_are_found(tmp_path, around):
    rows = [{"text": text, "label": label} for text, label in ROWS]
    outer, inner = around
    answer = {"took": 3, "meta": {"version": 1}, outer: {"total": 6, inner: rows}}
    (tmp_path / "a.json").write_text(json.dumps(answer, indent=1))
    assert names_in(tmp_path, "a.json") == ["text", "label"]
    assert read(tmp_path, "a.json")[0] == ROWS
    (tmp_path / "a.json").write_text(json.dumps(answer))
    assert read(tmp_path, "a.json")[0] == ROWS


def test_two_bytes_a_letter_without_a_mark_are_known_in_any_script(tmp_path):
    rows = [(f"包裹又迟到了没有人回复我的邮件{number}", "退款") for number in range(6)]
    for encoding in ("utf-16-le", "utf-16-be"):
        (tmp_path / "a.csv").write_bytes(csv_of(rows).encode(encoding))
        with pytest.raises(DataError, match=f"{encoding}"):
            read(tmp_path, "a.csv")
        assert read(tmp_path, "a.csv", encoding=encoding)[0] == rows
    (tmp_path / "a.csv").write_bytes(csv_of(rows).encode("gb18030"))
    with pytest.raises(DataError, match="for instance cp1252, gb18030"):
        read(tmp_path, "a.csv")


def test_names_of_columns_stand_below_a_title_and_in_other_languages(tmp_path):
    (tmp_path / "a.csv").write_text("Export of 2024-01-01\nby: me\n\n" + csv_of(head="Nr;x\n1;2\nKommentar,Kategorie"))
    assert names_in(tmp_path, "a.csv") == ["Kommentar", "Kategorie"]
    for text, label in (("评论", "标签"), ("Текст", "Категория"), ("commentaire", "catégorie")):
        guess = guess_columns(["id", text, label], texts=(), label=None, labelled=True, values=lambda _: [])
        assert (guess.texts, guess.label) == ((text,), label)
    names = ["id", "text", "label", "Comments"]  # as doccano exports them
    assert guess_columns(names, texts=(), label=None, labelled=True, values=lambda _: []).texts == ("text",)


def test_labels_of_words_and_letters_with_a_lost_dot_are_told(tmp_path):
    words = [("Ann", "B-PER"), ("met", "O"), ("Bob", "B-PER"), ("Roe", "I-PER"), ("in", "O"), ("Rome", "B-LOC")]
    (tmp_path / "a.csv").write_text(csv_of(words))
    assert "are those of words (CoNLL), which are not supported" in " ".join(read(tmp_path, "a.csv")[1])
    (tmp_path / "a.csv").write_text(csv_of([(text, "İyi" if label == "good" else "iyi") for text, label in ROWS]))
    assert "labels that look alike: 'iyi'" in " ".join(read(tmp_path, "a.csv")[1])
    assert not any("CoNLL" in remark for remark in read(tmp_path, "a.csv")[1])
