"""Which columns a file of rows has, and which of them hold the texts and the labels where that is plain to see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secateur.errors import DataError
from secateur.readers.database import ask
from secateur.readers.header import header_of
from secateur.readers.json_rows import keys_of
from secateur.readers.layout import Layout
from secateur.readers.parquet import parquet_names
from secateur.readers.plain import PLAIN_COLUMNS
from secateur.readers.tables import encoding_for, format_of
from secateur.readers.workbook import workbook_names
from secateur.sources.compression import explained
from secateur.sources.locations import DATABASES, Location
from secateur.sources.source_files import require_file

_TEXTS = frozenset({
    "text", "texts", "message", "messages", "body", "review", "reviews", "sentence", "sentences", "content",
    "comment", "comments", "tweet", "post", "utterance", "description", "document", "question", "query", "headline",
    "review_text", "review_body", "text_content", "phrase",
    "kommentar", "nachricht", "bewertungstext", "texte", "commentaire", "avis", "texto", "comentario", "reseña",
    "testo", "commento", "recensione", "comentário", "текст", "отзыв", "комментарий", "сообщение", "النص",
    "文本", "评论", "内容", "评论内容", "本文", "テキスト", "レビュー", "텍스트", "리뷰",
})  # fmt: skip
_LABELS = frozenset({
    "label", "labels", "category", "class", "sentiment", "stars", "star", "rating", "intent", "topic", "target",
    "emotion", "polarity", "queue", "department", "team", "tag", "label_text", "sentiment_label", "class_label",
    "kategorie", "klasse", "stimmung", "thema", "catégorie", "étiquette", "classe", "categoría", "etiqueta", "clase",
    "sentimiento", "categoria", "etichetta", "категория", "метка", "класс", "тональность", "الفئة",
    "标签", "类别", "分类", "情感", "ラベル", "カテゴリ", "カテゴリー", "分類", "라벨", "레이블",
})  # fmt: skip
_NOTES = frozenset({"comment", "comments"})
"""Beside a column called text these are what somebody noted of a row, as doccano exports them."""
_PARTS = frozenset({"split", "subset", "set", "partition", "part", "fold", "dataset", "data_split", "usage", "phase"})
_TIMES = frozenset({
    "date", "time", "datetime", "day", "month", "created", "posted", "published", "updated", "submitted", "received",
})  # fmt: skip
_COUNTED_TIMES = frozenset({"timestamp", "unix_timestamp", "created_utc", "epoch"})
_MUCH_FEWER = 5
_WITH_OBJECTS = ("jsonl", "parquet")


@dataclass(frozen=True)
class Guess:
    """The columns, and how they were found; None where the user named both.

    Of several labels per row ``more`` are the columns beside that of ``label``; ``names`` are all columns of the file,
    as far as they are known.
    """

    texts: tuple[str, ...]
    label: str | None
    how: str | None
    more: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the labels."""
        return () if self.label is None else (self.label, *self.more)


def columns_of(
    location: Location, *, file_format: str, encoding: str, layout: Layout, inner: bool = False
) -> list[str]:
    """Return the names of the columns of a file that is here.

    Args:
        location: of the file.
        file_format: that it has, or ``auto``.
        encoding: that it has, or ``auto``.
        layout: of a table or a database.
        inner: those of what lies in objects of JSON and structures of Parquet, ``_source.message``; else none.

    Raises:
        DataError: it is not such a file, is empty, or its first lines cannot be read.
    """
    path = location.path
    if path is None:
        raise DataError(f"ingest.source={location.name} is on a hub; its columns are not known before it is here")
    require_file(location, path)
    kind = format_of(path, file_format)
    if inner and kind not in _WITH_OBJECTS:
        return []
    if kind in PLAIN_COLUMNS:
        return [*PLAIN_COLUMNS[kind]]
    decided = encoding_for(path, kind, asked=encoding, kind=location.kind, query=layout.query)
    with explained(path):
        if kind in DATABASES:
            names = ask(path, layout.query)[0]
        elif decided is None:
            names = parquet_names(path, inner=inner) if kind == "parquet" else workbook_names(path, layout)
        elif kind == "jsonl":
            names = keys_of(path, encoding=decided, inner=inner)
        else:
            names = header_of(path, tabs=kind == "tsv", encoding=decided, layout=layout, told=are_told)
    if not names and not inner:
        raise DataError(f"{path.name} holds no rows whose columns have names")
    return names


def guess_columns(
    names: Sequence[str],
    *,
    texts: Sequence[str],
    label: str | None,
    labelled: bool,
    values: Callable[[str], Sequence[str | None]],
    inner: Callable[[], Sequence[str]] = tuple,
) -> Guess:
    """Choose the columns that were not named, where only one choice is sensible.

    Args:
        names: of the file's columns.
        texts: the user's choice, two columns of pairs; none where nothing was said.
        label: the same, or None.
        labelled: whether labels are wanted at all.
        values: the values of a column as text; asked for only where the names say nothing.
        inner: the names of what lies in columns (``_source.message``); asked for only where those outside do not do.

    Raises:
        DataError: more than one choice is sensible, or none; the message names the columns and the options.
    """
    names = list(dict.fromkeys(names))  # whoever reads them refuses two of a name
    how = []
    text = texts[0] if texts else None
    if text is None:
        text = _called_text([name for name in names if name != label], _key)
        how += ["its name"] if text else []
    if label is None and labelled:
        label = _called_label([name for name in names if name not in (text, *texts)], _key)
        how += ["its name"] if label else []
    if len(names) == 2 and labelled and len(texts) < 2:
        text, label, more = _of_two(names, text=text, label=label, values=values)
        how += more
    elif len(names) == 1 and not labelled and text is None:
        text, how = names[0], ["being the only one"]
    if text is None or (label is None and labelled):
        names = [*names, *inner()]
        text = text or _called_text([name for name in names if name != label], _last)
        label = label or (
            _called_label([name for name in names if name not in (text, *texts)], _last) if labelled else None
        )
        how += ["its name"]
    if text is None or (label is None and labelled):
        missing = [f"--{what}-column" for what, name in (("text", text), ("label", label)) if name is None]
        wanted = missing if labelled else ["--text-column"]
        listed = ", ".join(names)[:300] or "none"
        pairs = "; pairs of texts are two --text-column" if labelled and text is None and len(names) > 2 else ""
        several = (
            "; columns of 0 and 1 are a --label-column each" if labelled and label is None and len(names) > 3 else ""
        )
        raise DataError(
            f"name {' and '.join(wanted)}: which of these columns is meant is not plain: {listed}{_tip(names)}{pairs}"
            f"{several}"
        )
    return Guess(
        tuple(texts) or (text,),
        label if labelled or label is not None else None,
        " and ".join(dict.fromkeys(how)) or None,
        names=tuple(names),
    )


def are_told(names: Sequence[str]) -> bool:
    """Tell whether names are very likely those of columns: one is what texts are called, and one what labels are."""
    keys = {_key(name) for name in names}
    return bool(keys & _TEXTS) and bool(keys & _LABELS)


def called_parts(names: Sequence[str]) -> list[str]:
    """Return the names that columns have which say train or test of each row."""
    return [name for name in names if _key(name) in _PARTS]


def called_times(names: Sequence[str]) -> list[str]:
    """Return the names that columns of dates or times have."""
    ends = ("_at", "_on", "_date", "_time", "_timestamp")
    return [name for name in names if (key := _key(name)) in _TIMES | _COUNTED_TIMES or key.endswith(ends)]


def may_count_time(name: str) -> bool:
    """Tell whether numbers in a column of this name are times, and not lengths of time."""
    return _key(name) in _COUNTED_TIMES


def _of_two(
    names: Sequence[str], *, text: str | None, label: str | None, values: Callable[[str], Sequence[str | None]]
) -> tuple[str | None, str | None, list[str]]:
    """Complete the choice between two columns: what one of them is, the other is not."""
    first, second = names
    other = {first: second, second: first}
    if text in other and label is None:
        return text, other[str(text)], ["being the other one"]
    if label in other and text is None:
        return other[str(label)], label, ["being the other one"]
    if text is not None or label is not None:
        return text, label, []
    found = {name: {value for value in values(name) if value} for name in names}
    few, many = sorted(names, key=lambda name: len(found[name]))
    if len(found[few]) >= 2 and _MUCH_FEWER * len(found[few]) <= len(found[many]):
        if few in found[few]:
            raise DataError(
                f"the first line names the columns, and here it looks like a row: {few!r} is a label of other rows, "
                "too; put a line with names before it, such as text,label, or set ingest.header=false"
            )
        return many, few, [f"its values ({few}: {len(found[few])} different ones, {many}: {len(found[many])})"]
    return None, None, []


def _tip(names: Sequence[str]) -> str:
    """Return what may have kept a line of names in one piece, where it looks like several."""
    looks_whole = len(names) != 1 or _key(names[0]).replace("_", "").isalnum()
    return "" if looks_whole else "; if these are several, -S ingest.delimiter=... says what stands between them"


def _called_text(names: Sequence[str], key: Callable[[str], str]) -> str | None:
    called = [name for name in names if key(name) in _TEXTS]
    has_text = any(key(name) == "text" for name in called)
    return _only([name for name in called if not (has_text and key(name) in _NOTES)])


def _called_label(names: Sequence[str], key: Callable[[str], str]) -> str | None:
    return _only([name for name in names if key(name) in _LABELS])


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _key(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


def _last(name: str) -> str:
    """Return what the last step of ``reviews.text`` is called."""
    return _key(name.rpartition(".")[2])
