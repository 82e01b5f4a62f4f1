"""The settings of `secateur prune`, which has no params.yaml: defaults, and what the user sets."""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from secateur.config.criteria import CRITERION_SECTIONS
from secateur.config.prune import PruneSettings
from secateur.config.regularizers import REGULARIZER_SECTIONS
from secateur.config.schema import describe
from secateur.errors import ConfigError

_DEFAULTS: Mapping[str, Any] = {
    "criterion": "obs",
    "criteria": {"obs": {"search_trials": 40}},
    "multipliers": {},
    "regularizer": "none",
    "regularizers": {},
    "regularization": {"strength": 1.0, "epochs": 0.5, "learning_rate": 1e-4},
    "granularity": "structures",
    "pattern": None,
    "action": "remove",
    "suppress_divisor": 10_000.0,
    "regrow_fraction": 0.0,
    "structures": ["heads", "ffn"],
    "num_layers": None,
    "hidden_size": None,
    "vocabulary_min_count": 0,
    "budget": {"macs": 0.5},
    "latency": {"runtime": "onnx", "batch": 1, "length": 32, "num_threads": 1, "repeats": 50},
    "schedule": {"shape": "cubic", "steps": 1},
    "calibration_rows": 1024,
    "repair": "least_squares",
    "ffn_multiple": 16,
    "min_heads": 0,
    "min_neurons": 0,
    "max_drop": 0.999,
    "max_robust_drop": None,
    "recovery": {
        "epochs": 0.0,
        "min_steps": 0,
        "learning_rate": 2e-4,
        "batch_size": 32,
        "weight_decay": 0.01,
        "warmup_fraction": 0.1,
        "label_smoothing": 0.0,
        "train_embeddings": False,
        "max_grad_norm": 1.0,
        "distillation_weight": 0.8,
        "temperature": 2.0,
        "hidden_weight": 0.0,
        "best_by": "macro_f1",
    },
}


_BROUGHT = ("criteria", "regularizers")
"""Sections of sections, which are there once somebody names them."""


def one_shot_settings(changes: Mapping[str, Any]) -> PruneSettings:
    """Return the defaults with changes, whose keys are dotted: ``{"criterion": "magnitude", "recovery.epochs": 1}``.

    A ``budget`` of another kind replaces the default one.

    Raises:
        ConfigError: a key or a value that the schema refuses, in the words of the user.
    """
    values: dict[str, Any] = copy.deepcopy(dict(_DEFAULTS))
    for name, value in changes.items():
        now = (*CRITERION_SECTIONS.names_now(name), *REGULARIZER_SECTIONS.names_now(name))
        for path in now or (name,):
            _set(values, path, value)
    try:
        return PruneSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe(error, of=PruneSettings)) from error


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    if sections == ["budget"] and key != "price":
        values["budget"] = {key: value, **{kept: old for kept, old in values["budget"].items() if kept == "price"}}
        return
    place: Any = values
    for section in sections:
        place = (
            place.setdefault(section, {}) if any(place is values[whole] for whole in _BROUGHT) else place.get(section)
        )
        if not isinstance(place, dict):
            raise ConfigError(f"{name} is no setting of pruning; `secateur params` lists them under prune")
    place[key] = value
