"""Embedding models: an encoder whose hidden states are pooled into one unit vector per text.

How they are pooled stands in the config (``embedding_pooling``, our own key, which loaders ignore). It comes from the
files of sentence-transformers beside it: ``modules.json``, ``1_Pooling/config.json``, ``2_Normalize``.
"""

import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, final, get_args

from torch import Tensor
from torch.nn.functional import normalize
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from secateur.errors import ModelError
from secateur.files import write_json
from secateur.models.card import CARD

PoolingMode = Literal["mean", "cls"]
"""The mean of the last hidden states over the tokens of a text, or that of its first token."""

MODULES = "modules.json"

_KEY = "embedding_pooling"
_LIMITS, _PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"
_PACKAGE = "sentence_transformers.models"
_OWN_READER = "secateur.formats.sentence_transformers.Transformer"
"""What reads an encoder whose layers have other widths than its config says of all."""
_PATHS = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@final
class Embedders:
    """What builds embedding models, as the auto classes of transformers build others."""

    @staticmethod
    def from_config(config: PreTrainedConfig, **options: Any) -> PreTrainedModel:
        """Build one with fresh weights."""
        return pooled_(AutoModel.from_config(config, **options, **_without_pooler(config)))

    @staticmethod
    def from_pretrained(folder: Path, *, config: PreTrainedConfig | None = None, **options: Any) -> Any:
        """Load one; with ``output_loading_info`` what was missing comes beside it."""
        if config is None:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        found = AutoModel.from_pretrained(folder, config=config, **options, **_without_pooler(config))
        if isinstance(found, tuple):
            return pooled_(found[0]), *found[1:]
        return pooled_(found)


def pooled_(model: PreTrainedModel) -> PreTrainedModel:
    """Let an encoder give ``logits``: one unit vector per row, (B, E) fp32, beside what it gives anyway."""
    # On the instance, as families replace the forward pass of an attention: names of the state stay those of the
    # encoder, and a partial is copied and pickled with its model.
    model.__dict__["forward"] = partial(_embed, model)
    return model


def states_again_(model: PreTrainedModel) -> None:
    """Undo ``pooled_``: the encoder gives its hidden states, which somebody else pools."""
    model.__dict__.pop("forward", None)


def is_pooled(model: PreTrainedModel) -> bool:
    """Tell whether ``pooled_`` was called on a model, or on what it is a copy of."""
    return "forward" in model.__dict__


def pooling_of(config: PreTrainedConfig) -> PoolingMode:
    """Return how the hidden states of an embedding model are pooled."""
    found = vars(config).get(_KEY, "mean")
    if found not in get_args(PoolingMode):
        raise ModelError(f"{_KEY} is {found!r} in config.json; {' or '.join(get_args(PoolingMode))} would work")
    return cast("PoolingMode", found)


def take_pooling_(config: PreTrainedConfig, folder: Path) -> None:
    """Write into a config how its model pools, as the folder says; one that says nothing takes the mean.

    Raises:
        ModelError: it pools in another way, or more than pooling follows.
    """
    if not (folder / CARD).exists() and (folder / MODULES).is_file():
        setattr(config, _KEY, _read(folder))
    setattr(config, _KEY, pooling_of(config))


def forget_pooling_(config: PreTrainedConfig) -> None:
    """Take it out of a config: a model with a head pools nothing."""
    vars(config).pop(_KEY, None)


def is_for_sentence_transformers(name: str) -> bool:
    """Tell whether a file of a folder, by its name there, is one of those that ``write_modules`` writes."""
    return name in (MODULES, _LIMITS, _PROMPTS) or name.partition("/")[0] in _PATHS.values()


def said_of(folder: Path) -> str:
    """Return how texts become vectors, for people: as the files beside a model say."""
    if not (folder / CARD).exists() and (folder / MODULES).is_file():
        ends = any(_name(module) == "Normalize" for module in _modules(folder))
        vectors = "unit vectors" if ends else "unit vectors from here on (its own are not, cosines are the same)"
        return f"{_read(folder)} pooling, as {MODULES} says; {vectors}"
    if (mode := _json(folder / "config.json").get(_KEY)) is not None:
        return f"{mode} pooling and unit vectors, as {_KEY} in config.json says"
    return "mean pooling and unit vectors, since nothing says otherwise"


def longest(folder: Path, *, limit: int) -> int:
    """Return how many tokens a text may have: ``limit``, or what the files of sentence-transformers say beside it."""
    file = folder / _LIMITS
    found = _json(file).get("max_seq_length") if file.is_file() and not (folder / CARD).exists() else None
    return min(limit, found) if isinstance(found, int) and found > 0 else limit


def write_modules(folder: Path, config: PreTrainedConfig, *, max_length: int, hidden_size: int, is_plain: bool) -> None:
    """Write beside a model what sentence-transformers reads; plain transformers can build it, or our reader does."""
    types = {name: f"{_PACKAGE}.{name}" for name in _PATHS}
    if not is_plain:
        types["Transformer"] = _OWN_READER
    write_json(
        folder / MODULES,
        [
            {"idx": place, "name": str(place), "path": path, "type": types[name]}
            for place, (name, path) in enumerate(_PATHS.items())
        ],
    )
    for path in filter(None, _PATHS.values()):
        (folder / path).mkdir()
    mode = pooling_of(config)
    flags = {flag: name == mode for flag, name in _FLAGS.items()}
    others = dict.fromkeys(("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens"), False)
    write_json(folder / _PATHS["Pooling"] / "config.json", {"word_embedding_dimension": hidden_size, **flags, **others})
    write_json(folder / _LIMITS, {"max_seq_length": max_length, "do_lower_case": False})


def _embed(
    model: PreTrainedModel,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    **more: Any,
) -> SequenceClassifierOutput:
    """Stand in for ``model.forward``."""
    typed = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
    found = type(model).forward(model, input_ids=input_ids, attention_mask=attention_mask, **typed, **more)
    states = found.last_hidden_state.float()
    if pooling_of(model.config) == "cls":
        pooled = states[:, 0]
    elif attention_mask is None:
        pooled = states.mean(dim=1)
    else:
        weights = attention_mask[..., None].to(states.dtype)
        pooled = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-9)
    return SequenceClassifierOutput(logits=normalize(pooled, dim=-1), hidden_states=found.hidden_states)


def _without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """Return what leaves out the layer that some encoders have behind their first token: no embedding reads it."""
    accepted = inspect.signature(MODEL_MAPPING[type(config)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in accepted else {}


def _read(folder: Path) -> PoolingMode:
    """Return how a folder of sentence-transformers pools."""
    modules = _modules(folder)
    names = [_name(module) for module in modules]
    if names[:2] != ["Transformer", "Pooling"] or names[2:] not in ([], ["Normalize"]):
        raise ModelError(
            f"{folder / MODULES} names {', '.join(names) or 'nothing'}; Transformer, Pooling, Normalize are supported"
        )
    if modules[0].get("path"):
        raise ModelError(
            f"{folder / MODULES}: the encoder lies in {modules[0]['path']}; saved again by a current "
            "sentence-transformers it lies in the folder itself"
        )
    prompt = _json(folder / _PROMPTS).get("default_prompt_name") if (folder / _PROMPTS).is_file() else None
    if prompt is not None:
        raise ModelError(
            f"{folder / _PROMPTS} puts the prompt {prompt!r} before every text; write it into the texts, and let "
            "default_prompt_name be null"
        )
    if _flag(folder / _LIMITS) and not _flag(folder / "tokenizer_config.json"):
        raise ModelError(
            f"{folder / _LIMITS} writes every text in small letters first, and the tokenizer beside it does not; let "
            "do_lower_case be true in tokenizer_config.json, or false there"
        )
    said = _json(folder / str(modules[1].get("path")) / "config.json")
    chosen = [said["pooling_mode"]] if isinstance(said.get("pooling_mode"), str) else _flagged(said)
    if len(chosen) != 1 or chosen[0] not in get_args(PoolingMode):
        raise ModelError(f"{folder} pools by {', '.join(map(str, chosen)) or 'nothing'}; mean or cls are supported")
    return cast("PoolingMode", chosen[0])


def _flagged(said: dict[str, Any]) -> list[str]:
    return [_FLAGS.get(name, name) for name, value in said.items() if name.startswith("pooling_mode_") and value]


def _flag(file: Path) -> bool:
    """Tell whether a file says that letters become small."""
    return file.is_file() and _json(file).get("do_lower_case") is True


def _modules(folder: Path) -> list[dict[str, Any]]:
    found = _json(folder / MODULES)
    return [module for module in found if isinstance(module, dict)] if isinstance(found, list) else []


def _name(module: dict[str, Any]) -> str:
    return str(module.get("type")).rpartition(".")[2]


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read") from error
