"""An engine, opened: it answers, and every worker has the package that asks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from secateur.engines.base import Engine, EngineGone
from secateur.engines.performing import difference, installed
from secateur.engines.setting import Setting, require_installed

_FEWEST = 2
"""Workers of a cluster that is started: with one alone nothing would run side by side."""


@contextmanager
def opened(setting: Setting, *, num_threads: int, scratch: str) -> Iterator[Engine]:
    """Yield the engine that a setting names, and close it.

    Args:
        setting: not ``local``.
        num_threads: of one stage, by which the processors are shared out where nobody says how many workers.
        scratch: folder for what the processes of a cluster write that is started.

    Raises:
        ConfigError: the package of the engine is not installed.
        EngineGone: it does not answer, or a worker has another package.
    """
    require_installed(setting)
    num_workers = setting.num_workers or max(_FEWEST, (os.cpu_count() or 1) // num_threads)
    engine: Engine
    if setting.kind == "dask":
        from secateur.engines.on_dask import DaskEngine

        engine = DaskEngine(setting, num_workers=num_workers, scratch=scratch)
    else:
        from secateur.engines.on_ray import RayEngine

        engine = RayEngine(setting, num_workers=num_workers)
    try:
        require_same(setting, engine)
        yield engine
    finally:
        engine.close()


def require_same(setting: Setting, engine: Engine) -> int:
    """Refuse workers with another package; return how many there are.

    Raises:
        EngineGone: the message names the first one that differs, and in what.
    """
    found = engine.workers()
    for worker, there in found.items():
        other = there if isinstance(there, str) else difference(installed(), there)
        if other is not None:
            raise EngineGone(f"{setting}: the worker {worker} {other}; install the same on both")
    return len(found)
