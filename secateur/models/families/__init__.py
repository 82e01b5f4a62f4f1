"""The supported architectures, one file each."""

from collections.abc import Mapping

from transformers import PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.models.families.base import Family
from secateur.models.families.bert import BERT
from secateur.models.families.distilbert import DISTILBERT
from secateur.models.families.roberta import ROBERTA

FAMILIES: Mapping[str, Family] = {family.model_type: family for family in (BERT, ROBERTA, DISTILBERT)}

__all__ = ["FAMILIES", "Family", "family_named", "family_of"]


def family_of(model: PreTrainedModel | PreTrainedConfig) -> Family:
    """Return the family of a model, or of a config.

    Raises:
        ModelError: the architecture is not supported.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    if getattr(config, "is_decoder", False):
        raise ModelError(f"{config.model_type} with is_decoder: true is not supported; encoders are")
    return family_named(config.model_type)


def family_named(model_type: object) -> Family:
    """Return the family with this ``model_type``.

    Raises:
        ModelError: the architecture is not supported.
    """
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise ModelError(f"model_type {model_type!r} is not supported; supported: {', '.join(sorted(FAMILIES))}")
    return family
