"""Files and rows that others may write: ``python -m tests.fuzz_files --inputs 5000 --seed 1``.

A params.yaml, a card, a dvc.lock, an MLmodel, a file of tokens, what a server left of its traffic, a signature, the
rows of a registry, and the files of a checkpoint: each input is a good one with some bytes, lines or values changed,
doubled, moved, cut. Whoever reads it gives something, or one line of an error that is meant for the user. No other
error, no file written or changed, no more than ``--patience`` seconds, no code run, and never the end of the process.

Inputs are numbered: what one is follows from ``--seed`` and its number, so ``--only 4711`` reads one again. They are
read in forked children. Prints a line of JSON per finding, at the end the counts, and fails when there was a finding.
"""

import hashlib
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from secateur.errors import SecateurError
from tests.fuzz_readers import damaged_bytes
from tests.fuzzing import Stuck, campaign, parser_of, patience

_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**40, 10**400, -(2**70), 1e308, -0.5, "", "x", "../../etc/passwd", "/", "\0", "a\nb",
    "0" * 5000, [], {}, [[]], {"": None}, ["a", 1], "1970-01-01T00:00:00+00:00", "secateur", "models:/x@y",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """One kind of input.

    Attributes:
        name: of it.
        content: a good one.
        read: whoever reads it: file -> anything.
        is_json: values are changed as well, not bytes alone.
    """

    name: str
    content: bytes
    read: Callable[[Path], object]
    is_json: bool = False


@dataclass(frozen=True)
class Finding:
    """An input that did not end as it should."""

    number: int
    subject: str
    what: str


def changed(draw: random.Random, values: Any) -> Any:
    """Return JSON values with one of them, at any depth, changed, taken away, or under another name."""
    if isinstance(values, dict) and values and draw.random() < 0.85:
        name = draw.choice(sorted(values))
        way = draw.random()
        if way < 0.15:
            return {key: value for key, value in values.items() if key != name}
        if way < 0.25:
            return {**values, f"{name}{draw.choice(('x', ' ', '.', chr(0)))}": values[name]}
        return {**values, name: changed(draw, values[name])}
    if isinstance(values, list) and values and draw.random() < 0.7:
        at = draw.randrange(len(values))
        way = draw.random()
        if way < 0.2:
            return values[:at] + values[at + 1 :]
        return [*values[:at], changed(draw, values[at]), *values[at + (way < 0.8) :]]
    if isinstance(values, str) and values.startswith("{") and draw.random() < 0.7:
        return json.dumps(changed(draw, json.loads(values)), sort_keys=draw.random() < 0.5)
    if isinstance(values, str) and draw.random() < 0.3:
        return damaged_bytes(draw, values.encode()).decode("utf-8", "replace")
    return draw.choice(_ODD)


def damaged(draw: random.Random, subject: Subject) -> bytes:
    """Return a bad one."""
    content = subject.content
    if subject.is_json and draw.random() < 0.75:
        values = json.loads(content)
        for _ in range(draw.choice((1, 1, 2, 4))):
            with suppress(ValueError):  # of a text that is no JSON any more
                values = changed(draw, values)
        return json.dumps(values).encode()
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = damaged_bytes(draw, content)
    return content


@cache
def subjects() -> tuple[Subject, ...]:
    """Return all kinds of input; what they are made of is made once."""
    from tests.fuzz_subjects import every_subject

    return every_subject()


def problem_of(number: int, *, seed: int, folder: Path, patience_s: float) -> tuple[str, str, str | None]:
    """Read an input; return what it is, how it ended, and what is wrong with that."""
    draw = random.Random(f"{seed} {number}")
    subject = draw.choice(subjects())
    path = folder / "input"
    path.write_bytes(damaged(draw, subject))
    before = _tree(folder)
    ended, wrong = "read", None
    try:
        with patience(patience_s), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subject.read(path)
    except SecateurError as error:
        ended = "one line"
        if len(str(error).splitlines()) != 1 or not str(error).isprintable():
            wrong = f"not one printable line: {str(error)!r}"
    except Stuck:
        ended, wrong = "stuck", f"no end within {patience_s:g} s"
    except MemoryError:
        ended, wrong = "memory", "more memory than there is"
    except Exception:  # noqa: BLE001  the point of it all
        ended, wrong = "traceback", traceback.format_exc(limit=-4)
    if wrong is None and _tree(folder) != before:
        wrong = "files were written or changed"
    return subject.name, ended, wrong


def _tree(folder: Path) -> dict[str, str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() for file in files}


def run(numbers: list[int], *, seed: int, patience_s: float = 20.0) -> tuple[Counter[str], list[Finding]]:
    """Read inputs in this process, and return how many ended how, and those that ended wrongly."""
    counts, findings = Counter[str](), []
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            name, ended, wrong = problem_of(number, seed=seed, folder=Path(folder), patience_s=patience_s)
        counts[f"{name}: {ended}"] += 1
        if wrong:
            findings.append(Finding(number, name, wrong))
    return counts, findings


def main() -> None:
    """See the module."""
    parser = parser_of(__doc__, patience_s=20.0, of="input")
    parser.add_argument("--only", type=int, help="read one, and keep it in the folder `found`")
    asked = parser.parse_args()
    if asked.only is not None:
        shutil.rmtree("found", ignore_errors=True)
        Path("found").mkdir()
        print(*problem_of(asked.only, seed=asked.seed, folder=Path("found"), patience_s=asked.patience), sep="\n")  # noqa: T201
        return
    subjects()
    numbers = range(asked.first, asked.first + asked.inputs)
    some = partial(run, seed=asked.seed, patience_s=asked.patience)
    sys.exit(campaign(numbers, run=some, died=lambda number, how: Finding(number, "?", how), minutes=asked.minutes))


if __name__ == "__main__":
    main()
