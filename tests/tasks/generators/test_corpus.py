"""Retraining looks at a corpus without labels, in several files, as it looks at labelled rows."""

from secateur.config.retrain import QualitySection
from secateur.data.drift import added_rows, compare, findings
from secateur.data.profile import LabelledTexts, Profile
from secateur.data.quality import check_quality
from secateur.scheduling import drift
from secateur.workflow.params import read_config
from tests.tasks.generators.stand import GeneratorStand


def _corpus(texts: list[str | None]) -> LabelledTexts:
    return LabelledTexts(texts, [None] * len(texts), labelled=False)


def test_rows_without_labels_need_a_text_alone() -> None:
    rows = Profile.of(_corpus(["a b", "", None, "a b", "c"]))
    assert (rows.rows, rows.empty, rows.duplicates, rows.labels) == (5, 2, 1, {})
    settings = QualitySection(min_rows=3, max_empty=0.4, max_duplicates=0.5, max_lost_rows=0.5)
    conditions = check_quality(rows, Profile.of(_corpus([f"text {n}" for n in range(20)])), settings)
    assert [condition.name for condition in conditions if not condition.passed] == ["rows lost since the champion"]
    assert not [condition for condition in conditions if condition.name.startswith(("labels", "change of"))]


def test_drift_of_a_corpus_says_nothing_of_labels() -> None:
    before = _corpus(["a cat sat here"] * 50)
    now = _corpus(["a cat sat here"] * 30 + ["quite other words of a text that is much longer"] * 20)
    parts = compare(before, now)
    assert parts["labels"] is None
    assert any("never seen" in said for said in findings(parts))
    assert added_rows(before, now).labelled is False


def test_the_source_of_a_generator_may_be_several_files_of_documents(stand: GeneratorStand) -> None:
    for name, text in {"one": "first\n\nsecond\nline", "two": "third\n\n\nfourth"}.items():
        (stand.root / f"{name}.txt").write_text(text, encoding="utf-8")
    stand.configure(
        ingest={"source": "{one,two}.txt", "format": "text", "label_column": None},
        clean={"split": "documents"},
        baseline={"control": False},
    )
    rows = drift.source_rows(stand.project, read_config(stand.project))
    assert rows.texts == ["first", "second\nline", "third", "fourth"]
    assert not rows.labelled
    assert Profile.of(rows).usable == 4


def test_a_generator_is_an_encoder_for_the_drift_of_texts(stand: GeneratorStand) -> None:
    from secateur.inference.embeddings import mean_pooled

    found = mean_pooled(stand.registry.checkpoint("models:/tiny-generator/1"), ["酒店", "手机很好,不错。"])
    assert found.shape == (2, 32)
    assert (found[0] != found[1]).any()
