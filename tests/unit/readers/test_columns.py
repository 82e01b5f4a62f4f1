"""Which columns hold texts and labels: chosen where it is plain, asked for where it is not."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.errors import DataError
from secateur.readers.columns import columns_of, guess_columns
from secateur.readers.layout import Layout
from secateur.sources.locations import locate

PAIRS = "; pairs of texts are two --text-column"
VALUES = {"a": ["x", "y"] * 30, "b": [f"text {i}" for i in range(60)], "c": [f"other {i}" for i in range(60)]}


def guess(names, *, text=None, label=None, labelled=True):
    texts = () if text is None else (text,) if isinstance(text, str) else text
    found = guess_columns(names, texts=texts, label=label, labelled=labelled, values=lambda name: VALUES[name])
    return found.texts[0] if len(found.texts) == 1 else found.texts, found.label, found.how


@pytest.mark.parametrize(
    ("names", "named", "found"),
    [
        (["id", "Message", "Team"], {}, ("Message", "Team", "its name")),
        (["id", "review-body", "stars", "date"], {}, ("review-body", "stars", "its name")),
        (["utterance", "queue 7"], {}, ("utterance", "queue 7", "its name and being the other one")),
        (["what", "label"], {}, ("what", "label", "its name and being the other one")),
        (["a", "b"], {}, ("b", "a", "its values (a: 2 different ones, b: 60)")),
        (["b", "a"], {"text": "b"}, ("b", "a", "being the other one")),
        (["x", "y", "z"], {"text": "x", "label": "z"}, ("x", "z", None)),
        (["x", "y", "label"], {"text": ("x", "y")}, (("x", "y"), "label", "its name")),
        (["id", "text"], {"labelled": False}, ("text", None, "its name")),
        (["line"], {"labelled": False}, ("line", None, "being the only one")),
    ],
)
def test_what_is_plain_is_chosen(names, named, found):
    assert guess(names, **named) == found


@pytest.mark.parametrize(
    ("names", "named", "asked", "tip"),
    [
        (["text", "review", "label"], {}, "--text-column", PAIRS),
        (["text", "label", "sentiment"], {}, "--label-column", ""),
        (["b", "c"], {}, "--text-column and --label-column", ""),
        (["x", "y", "z"], {}, "--text-column and --label-column", PAIRS),
        (["x", "y", "z"], {"labelled": False}, "--text-column", ""),
        (["x", "y"], {"text": ("x", "y")}, "--label-column", ""),
    ],
)
def test_what_is_not_plain_is_asked_for_with_the_columns(names, named, asked, tip):
    with pytest.raises(DataError, match=f"^name {asked}: .*: {', '.join(names)}{tip}$"):
        guess(names, **named)


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a;.csv", "a.jsonl", "rows.json", "columns.json", "data.json", "a.parquet"]
)
def test_the_columns_of_every_format(tmp_path: Path, name: str) -> None:
    rows = [{"id": 1, "body": "one, two", "stars": 5}, {"id": 2, "body": "three", "stars": 1}]
    path = tmp_path / name
    if name.endswith(("csv", "tsv")):
        between = {"a.csv": ",", "a.tsv": "\t", "a;.csv": ";"}[name]
        path.write_text(
            "\ufeff" + between.join(rows[0]) + "\n" + between.join(["1", '"one, two"', "5"]) + "\n", "utf-8"
        )
    elif name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        value = {"a.jsonl": None, "rows.json": rows, "columns.json": columns, "data.json": {"n": 2, "data": rows}}[name]
        path.write_text(json.dumps(value) if value else "\n".join(map(json.dumps, rows)))
    assert columns_of(locate(str(path)), file_format="auto", encoding="auto", layout=Layout()) == [
        "id",
        "body",
        "stars",
    ]


@pytest.mark.parametrize("name", ["hits.json", "a.jsonl", "a.parquet"])
def test_columns_inside_others_are_seen_where_those_outside_do_not_do(tmp_path: Path, name: str) -> None:
    sources = [{"message": f"text {at}", "user": {"name": "x"}, "topic": "a"} for at in range(20)]
    rows = [{"_id": str(at), "_source": source} for at, source in enumerate(sources)]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(
            json.dumps({"took": 3, "hits": {"total": {"value": 2}, "hits": rows}})
            if name == "hits.json"
            else "\n".join(map(json.dumps, rows))
        )

    def inner() -> list[str]:
        return columns_of(locate(str(path)), file_format="auto", encoding="auto", layout=Layout(), inner=True)

    names = columns_of(locate(str(path)), file_format="auto", encoding="auto", layout=Layout())
    assert names == (["_id"] if name == "a.parquet" else ["_id", "_source"])
    found = guess_columns(names, texts=(), label=None, labelled=True, values=lambda _: [], inner=inner)
    assert (found.texts, found.label, found.how) == (("_source.message",), "_source.topic", "its name")


def test_a_structure_that_is_called_like_a_text_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"id": 1, "review": {"text": "好", "sentiment": "正面"}}] * 20), path)
    names, inner = (
        columns_of(locate(str(path)), file_format="auto", encoding="auto", layout=Layout(), inner=inner)
        for inner in (False, True)
    )
    found = guess_columns(names, texts=(), label=None, labelled=True, values=lambda _: [], inner=lambda: inner)
    assert (found.texts, found.label) == (("review.text",), "review.sentiment")


def test_the_last_step_of_a_name_counts_after_the_whole_name() -> None:
    assert guess(["name", "reviews.text", "reviews.title", "reviews.rating"])[:2] == ("reviews.text", "reviews.rating")
    assert guess(["text", "label", "meta.text", "meta.label"])[:2] == ("text", "label")
    with pytest.raises(DataError, match=r"is not plain: text, a\.tag, b\.tag$"):
        guess(["text", "a.tag", "b.tag"])


def test_columns_of_one_name_are_left_to_whoever_reads_them() -> None:
    assert guess(["text", "label", "label"]) == ("text", "label", "its name")


def test_a_line_in_one_piece_is_told_with_what_would_take_it_apart() -> None:
    with pytest.raises(DataError, match=r"is not plain: text\^label; .* -S ingest.delimiter="):
        guess(["text^label"])
    with pytest.raises(DataError, match=r"is not plain: data$"):
        guess(["data"])


def test_a_row_in_the_place_of_the_names_is_refused() -> None:
    values = {"x": ["x", "y"] * 30, "text 0": [f"text {i}" for i in range(1, 61)]}
    with pytest.raises(DataError, match="looks like a row: 'x' is a label of other rows, too; put a line with names"):
        guess_columns(["text 0", "x"], texts=(), label=None, labelled=True, values=values.__getitem__)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "\n \n"), ("a.csv", "\ufeff"), ("a.jsonl", "\n"), ("a.json", "[]")]
)
def test_a_file_of_nothing_is_told(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DataError, match=f"^{name} holds no rows whose columns have names$"):
        columns_of(locate(str(tmp_path / name)), file_format="auto", encoding="auto", layout=Layout())


def test_a_folder_and_an_empty_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "empty.csv", "is empty")):
        with pytest.raises(DataError, match=said):
            columns_of(locate(str(path)), file_format="auto", encoding="auto", layout=Layout())
