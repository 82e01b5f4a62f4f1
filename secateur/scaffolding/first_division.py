"""How the rows will be divided, where something else than their shares decides: tried before a project is written."""

from secateur.config.schema import RunConfig
from secateur.data.assembly import Copied
from secateur.data.cleaning_remarks import absent
from secateur.data.rows_in_parts import rows_in_parts
from secateur.kinds.base import Kind
from secateur.readers.reading import Reading


def on_division(found: Copied, reading: Reading, config: RunConfig, *, kind: Kind) -> list[str]:
    """Divide rows as the first run will, and say which labels no row of a part will have.

    Exact shares give every part each label. Groups, times, contents and files do not: all rows of a label may be one
    customer's, or this month's.

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
        return []
    rows = rows_in_parts(found, reading, config.clean, kind=kind, seed=config.run.seed)
    return absent(rows.targets_by_part, rows.targets.names)
