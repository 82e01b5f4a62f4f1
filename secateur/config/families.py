"""Families of other packages, by the ``model_type`` that they read; ours lie in ``secateur/families``."""

from typing import TYPE_CHECKING

from secateur.errors import ModelError
from secateur.extensions import Registry

if TYPE_CHECKING:
    from secateur.families.base import Family

OTHERS: "Registry[Family]" = Registry(
    "family of another package",
    group="secateur.families",
    type_="secateur.families.base:Family",
    own={},
    called="model_type",
)


def check_chosen(model_type: str, *, family: str | None, model: str) -> None:
    """Refuse a model of another package's family that a project does not name: its code would be in no identity.

    Args:
        model_type: of the model.
        family: ``baseline.family``.
        model: ``baseline.model``, for the message.

    Raises:
        ModelError: naming what to set.
    """
    if family is None and model_type in OTHERS.names:
        raise ModelError(
            f"baseline.model={model} is of model_type {model_type}, whose family {OTHERS.find(model_type).package} brings; "
            f"baseline.family={model_type} makes its code part of this project"
        )
    if family not in (None, model_type):
        raise ModelError(f"baseline.family={family} is not that of baseline.model={model}, which is {model_type}")
