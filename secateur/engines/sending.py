"""Work that was sent off: waited for, sent again where its worker was lost, refused as if it had been done here."""

import logging

from secateur import errors
from secateur.engines.base import Answer, Engine, Work, WorkerLost
from secateur.errors import CheckFailed, SecateurError

_TRIES = 3

logger = logging.getLogger(__name__)


class Sent:
    """A piece of work on some worker."""

    def __init__(self, engine: Engine, work: Work) -> None:
        """Send it off."""
        self._engine, self._work = engine, work
        self._ticket = engine.submit(work)

    def answer(self) -> Answer:
        """Wait for what the module says; a worker that was lost with it is told, and another one does it again.

        Raises:
            SecateurError: what the module or the worker refused.
            CheckFailed: it ended in another way, or its workers were lost every time.
            EngineGone: the cluster went away.
        """
        title = self._work.title
        for number in range(1, _TRIES + 1):
            try:
                answer = self._ticket.wait()
            except WorkerLost as error:
                lost = f"the worker {error} was lost"
            else:
                if not answer.killed:
                    return _without_refusal(title, answer)
                lost = f"on the worker {answer.worker} it {answer.failed}"
            if number < _TRIES:
                logger.warning("%s: %s; it runs again, which changes no bit", title, lost)
                self._ticket = self._engine.submit(self._work)
        raise CheckFailed(f"{title} was tried {_TRIES} times, and {lost}; nothing was replaced")


def _without_refusal(title: str, answer: Answer) -> Answer:
    if answer.refused is not None:
        name, line = answer.refused
        kind = getattr(errors, name, SecateurError)
        raise kind(line)
    if answer.failed is not None:
        raise CheckFailed(f"{title} on the worker {answer.worker} {answer.failed}; nothing was replaced")
    return answer
