"""Telling the outside what became of a model: promoted, rolled back, held, waiting, failed. It undoes nothing."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from secateur.announcements.outbox import Outbox
from secateur.announcements.webhook import Letter, post
from secateur.announcements.webhook_bodies import body_of
from secateur.config.promote import PromoteSection
from secateur.errors import ProjectError
from secateur.files import to_json
from secateur.workflow.announce import emit
from secateur.workflow.project import Project

What = Literal["promoted", "rolled_back", "held", "waits", "failed"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class News:
    """What is told.

    Attributes:
        what: happened.
        model: name of the registered model.
        about: JSON values that say more.
        same: those of which the same are the same news, and are told once; None takes all.
    """

    what: What
    model: str
    about: Mapping[str, Any]
    same: Mapping[str, Any] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What Prefect is told, and a webhook that takes secateur's own form."""
        return {"event": f"secateur.{self.what}", "model": self.model, **self.about, "id": self.id}

    @property
    def id(self) -> str:
        """By which a receiver knows what it was told before."""
        same = self.about if self.same is None else self.same
        return hashlib.sha256(to_json([self.what, self.model, dict(same)]).encode()).hexdigest()


def tell(project: Project, section: PromoteSection, news: News) -> None:
    """Tell Prefect, and the webhook where there is one; what was told before is not told again.

    What cannot be delivered is logged, and tried again with the next news, for a week.
    """
    outbox = Outbox(project.state)
    try:
        with outbox.held():
            if outbox.was_told(news.id):
                return
            emit(news.what, model=news.model, payload=news.payload, key=news.id)
            if section.webhook is not None and news.what in section.webhook_events:
                outbox.put(Letter(section.webhook, body_of(news.payload, section.webhook_format), news.id))
            outbox.note(news.id)
            _deliver(outbox, section)
    except (OSError, ProjectError) as error:
        _log.warning("%s of %s was not told: %s", news.what, news.model, error)


def _deliver(outbox: Outbox, section: PromoteSection) -> None:
    tries, backoff_s = section.webhook_tries, section.webhook_backoff_s
    for letter in outbox.waiting(section.webhook):
        sent = post(letter, timeout_s=section.webhook_timeout_s, tries=tries, backoff_s=backoff_s)
        if sent.problem is not None:
            later = "it is told with the next news" if sent.again else "it is not told again"
            _log.warning("%s; %s; what was done stays done", sent.problem, later)
        if sent.again:
            return  # the others would wait as long
        outbox.remove(letter)
