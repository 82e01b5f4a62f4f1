"""How the rows will be divided, where something else than their shares decides: tried before a project is written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from secateur.config.schema import RunConfig
from secateur.data.assembly import Copied
from secateur.data.cleaning_remarks import absent
from secateur.data.rows_in_parts import rows_in_parts
from secateur.kinds.base import Kind
from secateur.readers.reading import Reading
from secateur.scaffolding.params_text import Choice

_OF_TEST_ROWS = ("promote.min_rows", "promote.slices.min_rows", "evaluate.robustness.rows", "promote.robustness.rows")


@dataclass(frozen=True)
class FirstDivision:
    """What the parts will be.

    Attributes:
        remarks: which labels no row of a part will have, one line each.
        test_rows: of the part that tests.
    """

    remarks: tuple[str, ...]
    test_rows: int

    def within(self, choices: Sequence[Choice], *, asked: Collection[str]) -> tuple[Choice, ...]:
        """Return choices that ask for no more test rows than there will be; those in ``asked`` are the user's."""
        return tuple(
            replace(choice, value=self.test_rows, reason="all test rows, which no exact share decides")
            if choice.name in _OF_TEST_ROWS and choice.name not in asked and choice.value > self.test_rows
            else choice
            for choice in choices
        )


def first_division(found: Copied, reading: Reading, config: RunConfig, *, kind: Kind) -> FirstDivision | None:
    """Divide rows as the first run will; None where exact shares decide, which give every part each label.

    Groups, times, contents and files do not: all rows of a label may be one customer's, or this month's.

    Args:
        found: the rows.
        reading: how they were read.
        config: what the project will say.
        kind: of task.

    Raises:
        DataError: a part, or the training rows of a label, would stay empty.
    """
    columns = reading.columns
    by_share = columns.group is None and columns.time is None and config.clean.split_by == "share"
    if by_share and not found.given:
        return None
    rows = rows_in_parts(found, reading, config.clean, kind=kind, seed=config.run.seed)
    return FirstDivision(tuple(absent(rows.targets_by_part, rows.targets.names)), rows.parts.divided["test"])
