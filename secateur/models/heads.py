"""Which finished models there are: classifiers of one label per row, and causal language models."""

from pathlib import Path

from transformers import PreTrainedConfig

from secateur.errors import ModelError
from secateur.models.families import family_of, is_generator

_CLASSIFIER = "ForSequenceClassification"
_LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")
_SINGLE_LABEL = "single_label_classification"


def require_finished(config: PreTrainedConfig, folder: Path | str) -> None:
    """Refuse a config of a model whose head is of another kind.

    Raises:
        ModelError: the architecture has another head, or the classifier gives several labels or a number.
    """
    name = str((config.architectures or [_CLASSIFIER])[0])
    kinds = (_CLASSIFIER, *(_LANGUAGE_MODELS if family_of(config).generates else ()))
    if not name.endswith(kinds):
        wanted = " and ".join(f"...{kind}" for kind in kinds)
        raise ModelError(f"{folder} holds a {name}; of {config.model_type} models, {wanted} are supported")
    if is_generator(config):
        return
    problem = vars(config).get("problem_type") or _SINGLE_LABEL
    if problem != _SINGLE_LABEL:
        raise ModelError(
            f"{folder} is for problem_type {problem}; classifiers that choose one label per row are supported"
        )
    if config.num_labels < 2:
        found = f"{folder} has {config.num_labels} label, so it gives a number"
        raise ModelError(f"{found}; classifiers of two labels or more are supported")


def pad_with_(config: PreTrainedConfig, token: int | None, folder: Path) -> None:
    """Name the token that pads rows, where a classifier that reads the last real token of a row has none.

    Args:
        config: changed in place.
        token: the tokenizer's; None takes the end of a text, which is read at its first one.
        folder: where the config comes from.

    Raises:
        ModelError: there is no token for it.
    """
    if config.pad_token_id is not None or not family_of(config).generates or is_generator(config):
        return
    end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    if token is None and end is None:
        raise ModelError(f"{folder} names neither pad_token_id nor eos_token_id in config.json; a classifier needs one")
    config.pad_token_id = end if token is None else token
