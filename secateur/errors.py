"""The one exception tree. A message says what was asked, what was found and what would work."""


class SecateurError(Exception):
    """Base of every error that is meant for the user; the command line prints it as one line.

    ``exit_code`` is 2 for the user's mistake and 1 for a check that failed.
    """

    exit_code = 2

    def __str__(self) -> str:
        """Return the message with what a line cannot show written out: libraries quote bytes of damaged files."""
        said = super().__str__()
        return said if said.isprintable() else "".join(sign if sign.isprintable() else _written(sign) for sign in said)


def _written(sign: str) -> str:
    return " " if sign == "\n" or sign.isspace() else repr(sign)[1:-1]


class ConfigError(SecateurError):
    """A parameter is unknown, out of range, or contradicts another one."""


class DataError(SecateurError):
    """The source cannot be read, or does not hold what the task needs."""


class ModelError(SecateurError):
    """The model cannot be loaded or its architecture is not supported."""


class NotRegistered(ModelError):
    """A registered model has no version of that number or alias; the message lists those it has."""


class CheckpointError(ModelError):
    """A folder is not a checkpoint, or its files do not match their digests."""


class BudgetError(SecateurError):
    """The budget cannot be reached; the message names the nearest one that can."""


class MeasurementError(SecateurError):
    """What was measured is too noisy to decide anything."""


class ProjectError(SecateurError):
    """The workspace is not a project, is held by another command, or has no space left."""


class Occupied(ProjectError):
    """Another run holds the workspace; it ends by itself."""


class CheckFailed(SecateurError):
    """A gate, a verification or a comparison came out negative."""

    exit_code = 1


class NotJudged(SecateurError):
    """A check came to no verdict, because an answer did not come: ask again. It says nothing about what was checked."""
