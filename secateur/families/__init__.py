"""The supported architectures, a table each, and the structures that may go; others come by entry point."""

from collections.abc import Mapping

from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from secateur.config.families import OTHERS
from secateur.errors import ModelError
from secateur.families.base import Family
from secateur.families.bert import BERT
from secateur.families.camembert import CAMEMBERT
from secateur.families.cohere import COHERE
from secateur.families.data2vec_text import DATA2VEC_TEXT
from secateur.families.deberta_v2 import DEBERTA_V2
from secateur.families.distilbert import DISTILBERT
from secateur.families.electra import ELECTRA
from secateur.families.ernie import ERNIE
from secateur.families.eurobert import EUROBERT
from secateur.families.gemma import GEMMA
from secateur.families.gemma2 import GEMMA2
from secateur.families.gemma3 import GEMMA3
from secateur.families.gpt2 import GPT2
from secateur.families.gpt_neox import GPT_NEOX
from secateur.families.granite import GRANITE
from secateur.families.llama import LLAMA
from secateur.families.megatron_bert import MEGATRON_BERT
from secateur.families.mistral import MISTRAL
from secateur.families.modernbert import MODERNBERT
from secateur.families.mpnet import MPNET
from secateur.families.nomic_bert import NOMIC_BERT
from secateur.families.olmo import OLMO
from secateur.families.olmo2 import OLMO2
from secateur.families.olmo3 import OLMO3
from secateur.families.opt import OPT
from secateur.families.phi import PHI
from secateur.families.phi3 import PHI3
from secateur.families.qwen2 import QWEN2
from secateur.families.qwen3 import QWEN3
from secateur.families.rembert import REMBERT
from secateur.families.roberta import ROBERTA
from secateur.families.roberta_prelayernorm import ROBERTA_PRELAYERNORM
from secateur.families.smollm3 import SMOLLM3
from secateur.families.starcoder2 import STARCODER2
from secateur.families.static import STATIC
from secateur.families.xlm_roberta import XLM_ROBERTA
from secateur.families.xlm_roberta_xl import XLM_ROBERTA_XL

_ENCODERS: tuple[Family, ...] = (
    BERT, ROBERTA, DISTILBERT, XLM_ROBERTA, CAMEMBERT, ELECTRA, DEBERTA_V2, MPNET, MODERNBERT, ERNIE, DATA2VEC_TEXT,
    ROBERTA_PRELAYERNORM, XLM_ROBERTA_XL, MEGATRON_BERT, REMBERT, NOMIC_BERT, EUROBERT,
)  # fmt: skip
_DECODERS: tuple[Family, ...] = (
    COHERE, GEMMA, GEMMA2, GEMMA3, GPT2, GPT_NEOX, GRANITE, LLAMA, MISTRAL, OLMO, OLMO2, OLMO3, OPT, PHI, PHI3, QWEN2,
    QWEN3, SMOLLM3, STARCODER2,
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {family.model_type: family for family in (*_ENCODERS, *_DECODERS)}
"""What may be pruned. ``static.py`` is what a round may end with."""

__all__ = ["FAMILIES", "Family", "family_named", "family_of", "is_static"]


def family_of(model: PreTrainedModel | PreTrainedConfig) -> Family:
    """Return the family of a model, or of a config.

    Raises:
        ModelError: the architecture is not supported.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    family = family_named(config.model_type)
    if getattr(config, "is_decoder", False) and not family.generates:
        raise ModelError(f"{config.model_type} with is_decoder: true is not supported; encoders are")
    family.check(config)
    return family


def family_named(model_type: object) -> Family:
    """Return the family with this ``model_type``: ours, or that of another package.

    Raises:
        ModelError: the architecture is not supported.
        ConfigError: another package's family cannot be loaded.
    """
    name, others = str(model_type), OTHERS.names
    if name == STATIC.model_type:
        return STATIC
    if name in others:
        if name in FAMILIES:
            raise ModelError(
                f"model_type {name} is ours, and {OTHERS.find(name).package} brings another family for it; uninstall it"
            )
        return OTHERS[name]
    if name not in FAMILIES:
        known = ", ".join(sorted([*FAMILIES, *others]))
        raise ModelError(f"model_type {model_type!r} {_why_not(name)}; supported: {known}")
    return FAMILIES[name]


def _why_not(model_type: str) -> str:
    """Return what keeps an architecture out, as far as its config of transformers tells."""
    if model_type not in CONFIG_MAPPING:  # its `get` finds nothing
        return "is not supported"
    known = CONFIG_MAPPING[model_type]
    if getattr(known, "is_encoder_decoder", False):
        return "is an encoder with a decoder that attends to it, and one stack of layers can be cut"
    if hasattr(known, "num_hidden_groups"):
        return "has the same weights in all layers, so none can be cut by itself, and one that goes saves nothing"
    if any("expert" in key and not key.startswith("_") for key in dir(known)):
        return "has experts in place of feed-forward blocks, and layers whose every weight sees every token can be cut"
    return "is not supported"


def is_static(config: PreTrainedConfig) -> bool:
    """Tell whether a config is that of a static student, which has no layers."""
    return bool(config.model_type == STATIC.model_type)
