"""Readers against files as they should be and as they should not: ``python -m tests.fuzz_readers --inputs N --seed S``.

Each input is a table with known rows, in some form (``fuzz_tables``). Written as it is, its rows must come back, all of
them and no others. Half of the inputs are damaged before they are read: bytes, lines or cells changed, doubled, moved,
cut. Of those comes a table, or one line of an error that is meant for the user. No other error, no file written or
changed, no more than ``--patience`` seconds, and never the end of the process.

Inputs are numbered: what an input is follows from ``--seed`` and its number, so ``--only 4711`` reads one again. They
are read in forked children, so that a library that ends its process is one finding and not the end of the program.
Prints a line of JSON per finding, at the end the counts, and fails when there was a finding.
"""

import random
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from secateur.config.part import parse_part
from secateur.data.acquisition import check_rows
from secateur.errors import SecateurError
from secateur.readers.layout import Columns
from secateur.readers.reading import Reading, reading_of
from secateur.readers.row_files import open_rows, values_of
from tests.fuzz_tables import Row, Written, some_table, spelled, write
from tests.fuzzing import Stuck, campaign, parser_of, patience, tell

_TOKENS = (
    b'"', b"'", b"\\", b"\0", b"\n", b"\r", b"\r\n", b",", b";", b"\t", b"{", b"}", b"[", b"]", b"null", b"NaN",
    b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x80", b"\xc2", b"\\ud83d", b"PAR1", b"\x1f\x8b", b"BZh9",
    b"PK\x03\x04", b"SQLite format 3\0", b"<html", b"sep=,\n", b'"text"', b"label", b"1e999",
    b"9" * 400, b"[" * 2000, b'{"a":' * 2000,
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """An input that did not end as it should."""

    number: int
    file: str
    damaged: bool
    what: str


def case(seed: int, number: int) -> tuple[Written, bool]:
    """Return an input by its number, and whether it was damaged."""
    draw = random.Random(f"{seed} {number}")
    written = some_table(draw)
    if draw.random() < 0.5:
        return written, False
    content = written.content
    for _ in range(draw.choice((1, 1, 1, 2, 4, 12))):
        content = damaged_bytes(draw, content)
    ingest = dict(written.ingest)
    if draw.random() < 0.1:
        ingest |= draw.choice(({"bad_rows": "drop"}, {"quotes": "text"}, {"escapes": "backslash"}, {"header": True}))
    return replace(written, content=content, ingest=ingest), True


def damaged_bytes(draw: random.Random, content: bytes) -> bytes:
    """Change some bytes, anywhere, or in a line."""
    at = draw.randrange(len(content) + 1)
    to = min(len(content), at + draw.choice((1, 1, 2, 8, 64, 4096)))
    before, held, behind = content[:at], content[at:to], content[to:]
    lines = content.split(b"\n")
    line = draw.randrange(len(lines))
    ways = (
        lambda: before,
        lambda: before + behind,
        lambda: before + held * draw.choice((2, 3, 50)) + behind,
        lambda: before + bytes(draw.randrange(256) for _ in held) + behind,
        lambda: before + bytes(byte ^ (1 << draw.randrange(8)) for byte in held[:1]) + held[1:] + behind,
        lambda: before + draw.choice(_TOKENS) + held + behind,
        lambda: before + draw.choice(_TOKENS) + behind,
        lambda: behind + held + before,
        lambda: b"\n".join([*lines[:line], *lines[line + 1 :]]),
        lambda: b"\n".join([*lines[:line], lines[line], *lines[line:]]),
        lambda: b"\n".join(draw.sample(lines, len(lines))),
        lambda: b"\n".join([*lines[:line], lines[line][: draw.randrange(len(lines[line]) + 1)], *lines[line + 1 :]]),
    )
    return draw.choice(ways)()


def problem_of(written: Written, damaged: bool, *, folder: Path, patience_s: float) -> tuple[str, str | None]:
    """Read an input by both readers; return how it ended, and what is wrong with that."""
    path = write(written, folder)
    reading = _reading(written)
    try:
        with patience(patience_s):
            ended, found = _read(path, reading)
            also, whole = _read_row_by_row(path, reading) if _is_row_file(written) else (ended, None)
    except Stuck:
        return "stuck", f"no end within {patience_s:g} s"
    except MemoryError:
        return "memory", "more memory than there is"
    except Exception:  # noqa: BLE001  the point of it all
        return "traceback", traceback.format_exc(limit=-3)
    if wrong := _left(path, written, folder):
        return ended, wrong
    if damaged:
        return ended, None
    without_labels = not any(spelled(label) for _, label in written.rows)
    for how, rows in ((ended, found), (also, whole)):
        if rows is None and how != "rows":
            right = (*written.may_be_refused, *(("no row has a label",) if without_labels else ()))
            if not any(words in how for words in right):
                return "refused", f"refused as it should not be: {how}"
        elif rows is not None and (wrong := _difference(rows, written.rows)):
            return "different", wrong
    return ended, None


def _is_row_file(written: Written) -> bool:
    """Tell whether ``--data`` takes the file, which databases and plain text are not for."""
    return written.name != "rows.db" and written.ingest.get("format") != "fasttext"


def _reading(written: Written) -> Reading:
    section = {"source": "-", "text_column": "text", "label_column": "label", **written.ingest}
    return reading_of(parse_part("classification", {"ingest": section}).ingest)


def _read(path: Path, reading: Reading) -> tuple[str, list[Row] | None]:
    """Read as ``ingest`` does."""
    try:
        found = check_rows(str(path), reading, min_labels=0)
    except SecateurError as error:
        return _one_line(error), None
    assert found is not None
    return "rows", list(zip(found.rows["text"].to_pylist(), found.rows["label"].to_pylist(), strict=True))


def _read_row_by_row(path: Path, reading: Reading) -> tuple[str, list[Row] | None]:
    """Read as ``predict`` does."""
    asked = replace(reading, columns=Columns("text", reading.columns.label, None))
    try:
        rows = open_rows(str(path), asked)
        pieces = [(values_of(batch, "text"), values_of(batch, "label")) for batch in rows.batches(7)]
    except SecateurError as error:
        return _one_line(error), None
    found = [row for texts, labels in pieces for row in zip(texts, labels, strict=True)]
    assert len(found) == rows.num_rows, f"{len(found)} rows, {rows.num_rows} were counted"
    return "rows", found


def _one_line(error: SecateurError) -> str:
    said = str(error)
    assert len(said.splitlines()) == 1 and said.isprintable(), f"not one printable line: {said!r}"
    return said


def _left(path: Path, written: Written, folder: Path) -> str | None:
    """Say what was written or changed."""
    others = sorted(entry.name for entry in folder.iterdir() if entry != path)
    if others:
        return f"left {', '.join(others)}"
    return None if path.read_bytes() == written.content else "the file was changed"


def _difference(found: list[Row], expected: Any) -> str | None:
    wanted = [(text, spelled(label)) for text, label in expected]
    read = [(text, spelled(label)) for text, label in found]
    if read == wanted:
        return None
    place = next(
        (n for n, (one, other) in enumerate(zip(read, wanted, strict=False)) if one != other),
        min(len(read), len(wanted)),
    )
    return (
        f"row {place} of {len(read)}, {len(wanted)} expected: {read[place : place + 1]} for {wanted[place : place + 1]}"
    )


def run(numbers: "list[int]", *, seed: int, patience_s: float = 10.0) -> tuple[Counter[str], list[Finding]]:
    """Read inputs in this process, and return how many ended how, and those that ended wrongly."""
    counts, findings = Counter[str](), []
    with tempfile.TemporaryDirectory() as home:
        for number in numbers:
            written, damaged = case(seed, number)
            folder = Path(home) / str(number)
            folder.mkdir()
            ended, wrong = problem_of(written, damaged, folder=folder, patience_s=patience_s)
            kind = "damaged" if damaged else "as written"
            counts[f"{kind}: {'rows' if ended == 'rows' else 'a wrong end' if wrong else 'one line'}"] += 1
            if wrong:
                findings.append(Finding(number, written.name, damaged, wrong))
            for entry in folder.iterdir():
                entry.unlink()
            folder.rmdir()
    return counts, findings


def main() -> None:
    """See the module."""
    parser = parser_of(__doc__, patience_s=10.0, of="input")
    parser.add_argument("--only", type=int, help="read one, and keep its file in the folder `found`")
    asked = parser.parse_args()
    if asked.only is not None:
        written, _ = case(asked.seed, asked.only)
        Path("found").mkdir(exist_ok=True)
        write(written, Path("found"))
        tell({"ingest": dict(written.ingest), "file": written.name})

    def died(number: int, how: str) -> Finding:
        written, damaged = case(asked.seed, number)
        return Finding(number, written.name, damaged, how)

    numbers = [asked.only] if asked.only is not None else range(asked.first, asked.first + asked.inputs)
    some = partial(run, seed=asked.seed, patience_s=asked.patience)
    sys.exit(campaign(numbers, run=some, died=died, minutes=asked.minutes))


if __name__ == "__main__":
    main()
