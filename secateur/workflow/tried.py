"""What is compared: the dense model, and of every round what it tried, which is more than what it kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.models.card import CARD, Card
from secateur.workflow.job import Job

TRIED = "tried"
"""Folder of a model that was not accepted, in the checkpoint of its round, beside the weights that were kept."""

_DENSE = "baseline"
_MODEL = "model."


def checkpoints_of(job: Job) -> dict[str, Path]:
    """Return the folder of every model, the dense one first."""
    return {name.removeprefix(_MODEL): path for name, path in job.inputs.items() if name.startswith(_MODEL)}


def models_of(job: Job) -> dict[str, Path]:
    """Return the checkpoint that speaks for each model.

    That is the folder itself of the dense model and of an accepted round, and of a rolled-back one what it tried: its
    own weights are those of the model before it. A round that never ran, because one before it was rolled back, has
    none and is left out.
    """
    found = {}
    for name, folder in checkpoints_of(job).items():
        if Card.found_in(folder).accepted:
            found[name] = folder
        elif (folder / TRIED / CARD).is_file():
            found[name] = folder / TRIED
    return found


def entries_of_rounds(job: Job, scored: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``rounds`` of metrics.json: what was scored, and of a round that never ran that it was not accepted."""
    names = (name for name in checkpoints_of(job) if name != _DENSE)
    return {name: scored.get(name, {"accepted": False}) for name in names}


def card_of(folder: Path) -> Card:
    """Return the card of a model, with the digest of the weights that it tried where those were not accepted."""
    card, tried = Card.found_in(folder), Card.found_in(folder / TRIED)
    if card.tried is None or tried.weights_sha256 is None:
        return card
    return card.changed(tried=card.tried.model_copy(update={"weights_sha256": tried.weights_sha256}))
