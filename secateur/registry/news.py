"""What is told of a model, by what happened: a move, a verdict, a hold, a failure."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from secateur.announcements.announcement import News, tell
from secateur.config.schema import RunConfig
from secateur.errors import Occupied, SecateurError
from secateur.registry.history import Event
from secateur.registry.verdict import Verdict
from secateur.registry.who import now
from secateur.workflow.params import read_config
from secateur.workflow.project import Project

if TYPE_CHECKING:
    from secateur.scheduling.retraining import Retraining

BY_HAND = "by hand"
"""How the cause of a retraining begins that somebody asked for at a terminal."""

_log = logging.getLogger(__name__)


def tell_event(project: Project, config: RunConfig, model: str, event: Event) -> None:
    """Tell of a promotion or a rollback."""
    assert event.what in ("promoted", "rolled_back")
    tell(project, config.promote, News(event.what, model, event.as_json()))


def tell_verdict(project: Project, config: RunConfig, model: str, verdict: Verdict) -> None:
    """Tell of a version that was held, waits for approvals, or did not answer; told once for the same conditions.

    Numbers that were measured differ each time, and are no news.
    """
    failed = [condition.name for condition in verdict.failed]
    what: Any = "waits" if verdict.waits else "failed" if "smoke" in failed else "held"
    same = {"version": verdict.version, "champion": verdict.champion_before, "failed": failed}
    if verdict.waits:
        same["why"] = verdict.reason
    tell(project, config.promote, News(what, model, {**same, "why": verdict.reason}, same=same))


def tell_hold(project: Project, config: RunConfig, done: "Retraining") -> "Retraining":
    """Tell that a retraining was held without a version that was judged, and return what was done."""
    same = {"champion": done.champion, "why": done.reason}
    tell(project, config.promote, News("held", config.register_.model_name, same))
    return done


@contextmanager
def failures_told(project: Project, *, cause: str) -> Iterator[None]:
    """Tell of whatever the block raises, and raise it; that another run does the work is no failure.

    Who asked ``by hand`` reads it on the terminal, and nobody else is told.
    """
    started = now()
    try:
        yield
    except Occupied:
        raise
    except Exception as error:  # a defect, too: somebody is told, and it goes on as it came
        if not cause.startswith(BY_HAND):
            tell_failure(project, error, started=started)
        raise


def tell_failure(project: Project, error: Exception, *, started: str) -> None:
    """Tell that a retraining failed; where its parameters cannot be read, nobody is known to tell."""
    try:
        config = read_config(project)
    except SecateurError as unread:
        _log.warning("nobody was told of the failure: %s", unread)
        return
    why = str(error) if isinstance(error, SecateurError) else f"{type(error).__name__}: {error}"
    about = {"why": " ".join(why.split())[:1000], "when": started}
    tell(project, config.promote, News("failed", config.register_.model_name, about))
