"""What a stage has to say to the person who ran it, once it has ended: one line each, from what it wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.results import read_json


def remarks(root: Path, address: str) -> tuple[str, ...]:
    """Return the lines of one stage; none where everything came out as the parameters say.

    Args:
        root: folder of the project.
        address: of a stage that has run (``baseline``, ``prune@r2``).
    """
    name, _, item = address.partition("@")
    if name in ("baseline", "prune"):
        return _of_training(read_json(root / "models" / (item or name) / "card.json"), section=_SECTIONS[name])
    return ()


_SECTIONS = {"baseline": "baseline", "prune": "prune.recovery"}


def _of_training(card: Mapping[str, Any], *, section: str) -> tuple[str, ...]:
    """Say when the floor under the steps decided how long a model was trained."""
    length = card.get("training") or (card.get("tried") or {}).get("training")
    if not length or length["epochs"] <= length["asked_epochs"]:
        return ()
    return (
        f"trained for {length['steps']} steps ({section}.min_steps), {length['epochs']:.1f} epochs of so few rows; "
        f"epochs={length['asked_epochs']:g} asked for less",
    )
