"""Cleaning texts in several processes, with the same result as in one."""

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.connection import wait

from secateur.data.text_rules import TextRules, clean_texts

_CHUNK_ROWS = 5_000
# Below this, starting processes costs more than it saves (0.6 s to start two; 25 to 40 us a row).
_MIN_ROWS = 50_000


def clean_texts_in_processes(texts: Sequence[str], rules: TextRules, *, num_proc: int) -> tuple[list[str], list[int]]:
    """Do what ``text_rules.clean_texts`` does, in ``num_proc`` processes when there are enough rows."""
    if num_proc <= 1 or len(texts) < _MIN_ROWS:
        return clean_texts(texts, rules)
    chunks = [texts[start : start + _CHUNK_ROWS] for start in range(0, len(texts), _CHUNK_ROWS)]
    cleaned: list[str] = []
    changed: list[int] = []
    # Not fork: the caller may have threads (Prefect, torch), which a forked child inherits with their locks held.
    with ProcessPoolExecutor(
        num_proc, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    ) as pool:
        for texts_of_chunk, bits_of_chunk in pool.map(partial(clean_texts, rules=rules), chunks):
            cleaned += texts_of_chunk
            changed += bits_of_chunk
    return cleaned, changed


def _end_with_parent() -> None:
    """End this worker when its parent is killed; the pool's own workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
