"""What the fuzzing programs share: numbered inputs, a time for each, children that may die, and what is printed."""

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Findings = Sequence[Any]
"""Dataclasses: one for each input that did not end as it should."""

_CHUNK = 250
_MEMORY_BYTES = 6 << 30


class Stuck(BaseException):
    """It took too long."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """End what takes longer by ``Stuck``."""

    def ring(*_: object) -> None:
        raise Stuck

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def parser_of(doc: str | None, *, patience_s: float, of: str) -> argparse.ArgumentParser:
    """Return what reads the options that every program has; ``of`` is what has so many seconds."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=patience_s, help=f"seconds for one {of}")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no more after so many minutes")
    return parser


def tell(said: Mapping[str, Any]) -> None:
    """Print a line of JSON."""
    sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def campaign(
    numbers: Sequence[int],
    *,
    run: Callable[[list[int]], tuple[Counter[str], Findings]],
    died: Callable[[int, str], Any],
    minutes: float,
) -> int:
    """Read inputs in forked children, print what was found and the counts, and return the exit code.

    Args:
        numbers: of the inputs.
        run: reads some of them; returns how many ended how, and those that ended wrongly.
        died: the finding of an input that its process died of, with how it ended.
        minutes: after which no more are begun.
    """
    started, counts, num_findings = time.monotonic(), Counter[str](), 0
    for begin in range(0, len(numbers), _CHUNK):
        if time.monotonic() - started > 60 * minutes:
            break
        for some, findings in _in_children(list(numbers[begin : begin + _CHUNK]), run=run, died=died):
            counts.update(some)
            num_findings += len(findings)
            for finding in findings:
                tell(finding)
    seconds = round(time.monotonic() - started, 1)
    tell({"inputs": sum(counts.values()), "seconds": seconds, "findings": num_findings, **dict(sorted(counts.items()))})
    return 1 if num_findings else 0


def _in_children(
    numbers: list[int],
    *,
    run: Callable[[list[int]], tuple[Counter[str], Findings]],
    died: Callable[[int, str], Any],
) -> Iterator[tuple[Mapping[str, int], Sequence[Mapping[str, Any]]]]:
    """Yield counts and findings; where a child dies, the input that it died of is one and the others are read again."""
    while numbers:
        with tempfile.NamedTemporaryFile() as told:
            child = os.fork()
            if child == 0:
                _be_child(Path(told.name), numbers, run=run)
            _, status = os.waitpid(child, 0)
            lines = [json.loads(line) for line in Path(told.name).read_text().splitlines()]
        yield from ((line["counts"], line["findings"]) for line in lines)
        if status == 0:
            return
        ended = f"by signal {status & 127}" if status & 127 else f"with {status >> 8}"
        finding = died(numbers[len(lines)], f"the process ended {ended}")
        yield {"a dead process": 1}, [vars(finding)]
        numbers = numbers[len(lines) + 1 :]


def _be_child(told: Path, numbers: list[int], *, run: Callable[[list[int]], tuple[Counter[str], Findings]]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    signal.alarm(0)
    with told.open("w") as file:
        for number in numbers:
            counts, findings = run([number])
            file.write(json.dumps({"counts": counts, "findings": [vars(one) for one in findings]}) + "\n")
            file.flush()
    os._exit(0)
