"""Which finished models there are: classifiers, those that tell a number, embedding and language models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.bare import is_bare
from secateur.families.decoder import writes_text
from secateur.kinds.registry import kind_of_config
from secateur.models.pooling import Embedders

_CLASSIFIER = "ForSequenceClassification"
_LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")
_ENCODER = "Model"
_SINGLE_LABEL = "single_label_classification"


@dataclass(frozen=True)
class ModelHead:
    """What stands on top of a model.

    Attributes:
        auto: what builds such a model in transformers.
        per_token: there are logits at every token, (B, T, V), and the model reads on from a cache; else a row has
            logits, (B, C).
        labelled: a row's logits have names; those of an embedding model are the numbers of a vector.
    """

    auto: Any
    per_token: bool
    labelled: bool = False

    def tied(self, model: PreTrainedModel) -> dict[str, str]:
        """Return the names in the state whose tensors stand there under another name already, with that name."""
        return dict(model.all_tied_weights_keys) if self.per_token else {}

    def labels(self, config: PreTrainedConfig) -> list[str]:
        """Return the names of the logits of a row; none of a language model."""
        return [config.id2label[index] for index in range(config.num_labels)] if self.labelled else []


ROWS = ModelHead(AutoModelForSequenceClassification, per_token=False, labelled=True)
TOKENS = ModelHead(AutoModelForCausalLM, per_token=True)
VECTORS = ModelHead(Embedders, per_token=False)


def head_of(model: PreTrainedModel | PreTrainedConfig) -> ModelHead:
    """Return the head of a model, or of what a config describes.

    Raises:
        ModelError: the architecture is not supported.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    if family_of(config).generates:
        return TOKENS if writes_text(config) else ROWS
    return VECTORS if is_bare(config) else ROWS


def labels_texts(kind: type[PreTrainedConfig]) -> bool:
    """Say whether transformers has classifiers of an architecture; of some decoders (Granite) there are none."""
    return kind in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING


def last_of_head(model: PreTrainedModel) -> nn.Linear:
    """Return the linear that gives the logits of a row."""
    return [m for part in family_of(model).head(model) for m in part.modules() if isinstance(m, nn.Linear)][-1]


def require_finished(config: PreTrainedConfig, folder: Path | str, *, by_card: bool = False) -> None:
    """Refuse a config of a model whose head is of another kind.

    Raises:
        ModelError: the architecture has another head, or the classifier gives a number.
    """
    name = str((config.architectures or [_CLASSIFIER])[0])
    kinds = (_CLASSIFIER, *(_LANGUAGE_MODELS if family_of(config).generates else (_ENCODER,)))
    if not name.endswith(kinds):
        wanted = " and ".join(f"...{kind}" for kind in kinds)
        raise ModelError(f"{folder} holds a {name}; of {config.model_type} models, {wanted} are supported")
    if head_of(config).labelled:
        _check_labels(config, folder)
    if by_card or kind_of_config(config) is not None:
        return
    problem = vars(config).get("problem_type") or _SINGLE_LABEL
    if problem != _SINGLE_LABEL:
        raise ModelError(
            f"{folder} is for problem_type {problem} with {config.num_labels} outputs; classifiers of one label per "
            "row, or of several, and models of one number (regression) are supported"
        )
    raise ModelError(f"{folder} has {config.num_labels} label; classifiers of two labels or more are supported")


def _check_labels(config: PreTrainedConfig, folder: Path | str) -> None:
    """Refuse names of labels that do not name every logit once."""
    names = config.id2label
    if sorted(names) != list(range(len(names))):
        numbers = ", ".join(map(str, sorted(names)[:10]))
        raise ModelError(
            f"{folder}: id2label in config.json names the numbers {numbers}; of {len(names)} labels they are 0 to "
            f"{len(names) - 1}"
        )
    twice = [name for name in names.values() if list(names.values()).count(name) > 1]
    if twice:
        raise ModelError(f"{folder}: id2label in config.json names two labels {twice[0]!r}; each needs its own name")
    other = [(name, index) for index, name in names.items() if (config.label2id or {}).get(name, index) != index]
    if other:
        name, index = other[0]
        raise ModelError(
            f"{folder}: id2label in config.json gives {name!r} the number {index}, and label2id "
            f"{config.label2id[name]}; the two have to agree"
        )


def pad_with_(config: PreTrainedConfig, token: int | None, folder: Path) -> None:
    """Name the token that pads rows, where a classifier that reads the last real token of a row has none.

    Args:
        config: changed in place.
        token: the tokenizer's; None takes the end of a text, which is read at its first one.
        folder: where the config comes from.

    Raises:
        ModelError: there is no token for it.
    """
    if config.pad_token_id is not None or not family_of(config).generates or head_of(config).per_token:
        return
    end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    if token is None and end is None:
        raise ModelError(f"{folder} names neither pad_token_id nor eos_token_id in config.json; a classifier needs one")
    config.pad_token_id = end if token is None else token
