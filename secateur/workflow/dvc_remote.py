"""What DVC does with a remote: how long it waits for one that says nothing, and what went wrong."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_NAMES = ("dvc", "dvc_data", "dvc_objects")

# An S3 that says nothing is asked ten times, five by s3fs and twice each by botocore, which would ask five times.
os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")


def wait_no_longer(repo: Any) -> None:
    """Bound what is waited for a remote on S3 in silence: DVC would wait for ever where no setting says how long."""
    for remote in repo.config["remote"].values():
        if str(remote.get("url", "")).startswith("s3://"):
            remote.setdefault("connect_timeout", _CONNECT_SECONDS)
            remote.setdefault("read_timeout", _READ_SECONDS)


@contextmanager
def silent() -> Iterator[list[BaseException]]:
    """Keep DVC's own lines off the terminal: one error is one line, and it is ours. Yield the errors it would tell."""
    heard = _Heard()
    loggers = [logging.getLogger(name) for name in _NAMES]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(heard)
        logger.propagate = False
        logger.setLevel(logging.ERROR)
    try:
        yield heard.errors
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(heard)
            logger.propagate = propagate
            logger.setLevel(level)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error of a line that has one."""
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])
