"""The settings of `secateur prune`, which has no params.yaml: defaults, and what the user sets."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from secateur.config.prune import PruneSettings
from secateur.config.schema import describe
from secateur.errors import ConfigError

_DEFAULTS: Mapping[str, Any] = {
    "criterion": "obs",
    "norm": "l2",
    "gradient_score": "taylor",
    "multipliers": {},
    "regularizer": "none",
    "regularization": {"strength": 1.0, "growth": 10.0, "epochs": 0.5, "learning_rate": 1e-4},
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
    "search_trials": 40,
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
        "adversarial_epsilon": 0.0,
        "best_by": "macro_f1",
    },
}


def one_shot_settings(changes: Mapping[str, Any]) -> PruneSettings:
    """Return the defaults with changes, whose keys are dotted: ``{"criterion": "magnitude", "recovery.epochs": 1}``.

    A ``budget`` of another kind replaces the default one.

    Raises:
        ConfigError: a key or a value that the schema refuses, in the words of the user.
    """
    values: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in _DEFAULTS.items()
    }
    for name, value in changes.items():
        section, _, key = name.partition(".")
        if not key:
            values[section] = value
        elif name == "budget.price":
            values["budget"]["price"] = value
        elif section == "budget":
            price = {"price": values["budget"]["price"]} if "price" in values["budget"] else {}
            values["budget"] = {key: value} | price
        elif isinstance(values.get(section), dict):
            values[section][key] = value
        else:
            raise ConfigError(f"{name} is no setting of pruning; `secateur params` lists them under prune")
    try:
        return PruneSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe(error)) from error
