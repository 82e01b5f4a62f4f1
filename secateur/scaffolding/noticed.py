"""What was noticed of the rows, and what a person could choose by it: lines that ``init`` prints."""

from collections.abc import Sequence

from secateur.config.schema import RunConfig
from secateur.data.survey import Survey
from secateur.kinds.registry import DEFAULT, GRADE, kind_named
from secateur.readers.label_cells import possible_separator
from secateur.readers.numbers import are_grades
from secateur.scaffolding.starting_model import MULTILINGUAL
from secateur.scaffolding.wish import Wish

_PIECES_PER_WORD = 2.0
"""English words are 1.2 to 1.5 tokens of their own tokenizer; words of another language fall into more pieces."""


def on_long_texts(seen: Survey, config: RunConfig) -> list[str]:
    """Say that texts are cut, where these are more than the few that a length of the 95th hundredth leaves."""
    length = config.baseline.max_length
    if seen.tokens is None or seen.tokens.high <= length or config.baseline.long_texts != "head":
        return []
    ends = (
        ""
        if len(config.ingest.text_columns) > 1
        else "; with -S baseline.long_texts=head_tail their ends are read, too"
        + (", with windows all of them" if kind_named(config.run.task).reads_windows else "")
    )
    return [f"more than 5 % of the {seen.units} have more than {length} tokens, and are read up to there{ends}"]


def on_several(labels: Sequence[str | None]) -> list[str]:
    """Say of cells that may hold several labels, or one, what takes them apart."""
    found = possible_separator(labels)
    if found is None:
        return []
    sign, cell = found
    return [
        f"a label such as {cell!r} is taken as one; if it is several, -S 'ingest.label_separator=\"{sign}\"' says so"
    ]


def on_answers(names: Sequence[str]) -> list[str]:
    """Say of an export of Prodigy that rows which were rejected are rows like others."""
    if not {"answer", "_input_hash"} <= {*names}:
        return []
    return ["'answer' does not count: rows that were rejected or ignored in Prodigy count like others; leave them out"]


def on_grades(seen: Survey, wish: Wish) -> list[str]:
    """Say of labels that are grades that their order can be learned."""
    if wish.kind_name != DEFAULT or wish.task is not None or not are_grades(seen.labels):
        return []
    return [f"the labels are whole numbers in a row: {DEFAULT} learns names; --task {GRADE} learns that 4 is next to 5"]


def on_texts(seen: Survey, model: str) -> list[str]:
    """Say what texts hold, and of words that fall into pieces that the model hardly knows them."""
    if seen.tokens_per_word is None or seen.tokens_per_word < _PIECES_PER_WORD or seen.script != "Latin":
        return [*seen.remarks]
    return [
        *seen.remarks,
        f"{model} splits a word of these texts into {seen.tokens_per_word:.1f} tokens: they are hardly in the language "
        f"that it learned; --model can name another one, such as {MULTILINGUAL}",
    ]
