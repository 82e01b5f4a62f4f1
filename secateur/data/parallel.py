"""Cleaning texts in several processes, with the same result as in one."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import TypeAlias

from secateur.data.text_rules import TextRules, clean_texts

_CHUNK_ROWS = 5_000
# Below this, starting processes costs more than it saves (0.6 s to start two; 25 to 40 us a row).
_MIN_ROWS = 50_000
_CHUNKS_AHEAD = 3

_Changes: TypeAlias = dict[int, tuple[str, int]]


def clean_texts_in_processes(texts: Iterable[str], rules: TextRules, *, num_proc: int) -> Iterator[tuple[str, int]]:
    """Yield what ``text_rules.clean_texts`` returns, text by text; a text that no step changed is the one that came.

    Texts are taken as they are wanted, so memory does not grow with their number.

    Args:
        texts: to be cleaned.
        rules: the steps.
        num_proc: processes to clean them in, when there are enough texts.
    """
    chunks = _chunks(iter(texts))
    first = list(islice(chunks, -(-_MIN_ROWS // _CHUNK_ROWS)))
    if num_proc <= 1 or sum(map(len, first)) < _MIN_ROWS:
        for chunk in chain(first, chunks):
            yield from zip(*clean_texts(chunk, rules), strict=True)
        return
    # Not fork: the caller may have threads (Prefect, torch), which a forked child inherits with their locks held.
    with ProcessPoolExecutor(
        num_proc, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    ) as pool:
        waiting: deque[tuple[list[str], Future[_Changes]]] = deque()
        for chunk in chain(first, chunks):
            waiting.append((chunk, pool.submit(_changes, chunk, rules)))
            if len(waiting) > _CHUNKS_AHEAD * num_proc:
                yield from _changed(*waiting.popleft())
        while waiting:
            yield from _changed(*waiting.popleft())


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(texts, _CHUNK_ROWS)):
        yield chunk


def _changes(texts: Sequence[str], rules: TextRules) -> _Changes:
    """Return place -> the text and its bits, of those that a step changed."""
    cleaned = enumerate(zip(*clean_texts(texts, rules), strict=True))
    return {place: (text, bits) for place, (text, bits) in cleaned if bits}


def _changed(texts: Sequence[str], changes: "Future[_Changes]") -> Iterator[tuple[str, int]]:
    found = changes.result()
    for place, text in enumerate(texts):
        yield found.get(place, (text, 0))


def _end_with_parent() -> None:
    """End this worker when its parent is killed; the pool's own workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
