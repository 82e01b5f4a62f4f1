"""``promote``: challenger to champion, through the gate; and back."""

from secateur.evaluation.gate import Condition
from tasks.project import Project
from tasks.registry.verdict import Verdict

__all__ = ["Condition", "Verdict", "promote"]


def promote(
    project: Project,
    *,
    model_name: str | None = None,
    reference: str | None = None,
    force_reason: str | None = None,
) -> Verdict:
    """Judge a version, and make it the champion when every condition holds.

    Args:
        project: its params.yaml holds the thresholds, its test rows are judged on.
        model_name: None takes ``register.model_name``.
        reference: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``; None takes the challenger of the model.
        force_reason: promotes although conditions fail; digests and loading are never forced.

    Raises:
        ModelError: no such model or alias.
        ProjectError: there are no test rows.
    """
    raise NotImplementedError
