"""What rounds are asked for in ``test_rounds``."""

import math
from typing import Any, get_args

from secateur.config.criteria import CRITERIA
from secateur.config.prune import BudgetKind, PruneSettings, Repair
from tests.contract import criterion_variants
from tests.unit.pruning.prune_settings import prune_settings

RECOVERY = prune_settings().recovery.model_dump() | {"epochs": 0.5, "batch_size": 16, "learning_rate": 1e-3}
REGULARIZATION = {"strength": 1.0, "growth": 10.0, "epochs": 0.5, "learning_rate": 1e-3}
FIRST, SECOND = 0.7, 0.5
"""What the two rounds leave of dense."""

OF_STRUCTURES = [*criterion_variants.OF_STRUCTURES, *criterion_variants.OF_CURVES]
OF_WEIGHTS = criterion_variants.OF_WEIGHTS
TABLE = {"structures": {"layers.*.heads": 1.0, "layers.*.ffn": 2.0}, "weights": {"layers.*": 2.0}}
PATTERNED = ("magnitude", "gradient", "wanda", "sparsegpt", "random")

STRUCTURES = {
    f"{name}-{action}": {"criterion": name, "action": action}
    for name in OF_STRUCTURES
    for action in ("remove", "suppress")
}
STRUCTURES |= {
    f"{name} with {kind}": {"criterion": name, "regularizer": kind}
    for name in ("gradient", "obs")
    for kind in ("l1", "l2", "group_lasso")
}
STRUCTURES |= {
    f"{name} with multipliers": {
        "criterion": name,
        "multipliers": {"layers.0.heads": 0.5, "layers.*.ffn.3": 0.0, "layers.1.heads.2": math.inf},
    }
    for name in ("magnitude", "gradient", "fluctuation", "fisher", "obs")
}
STRUCTURES |= {
    f"{name} repaired by {mode}": {"criterion": name, "repair": mode}
    for name in ("magnitude", "fisher", "obs")
    for mode in get_args(Repair)
}
STRUCTURES |= {
    f"{kind} by {name}": {"criterion": name, "budget": {kind: SECOND}}
    for name in ("gradient", "fisher", "obs")
    for kind in get_args(BudgetKind)
}
STRUCTURES |= {
    "search": {"criterion": "obs", "search_trials": 4},
    "heads alone": {"criterion": "gradient", "structures": ["heads"], "budget": {"params": 0.8}},
    "suppress and repair": {"criterion": "magnitude", "action": "suppress", "repair": "least_squares"},
    "regrowth": {"criterion": "gradient", "regrow_fraction": 0.2},
    "regrowth after obs": {"criterion": "obs", "regrow_fraction": 0.2},
    "fewer layers": {"criterion": "magnitude", "num_layers": 2, "layers": 3},
    "fewer layers, regrowth": {"criterion": "gradient", "num_layers": 2, "layers": 3, "regrow_fraction": 0.1},
    "fewer features": {"criterion": "gradient", "hidden_size": 12},
    "fewer features, obs": {"criterion": "obs", "hidden_size": 12, "repair": "bias"},
    "fewer layers and features, hidden states": {
        "criterion": "gradient",
        "num_layers": 2,
        "layers": 3,
        "hidden_size": 12,
        "recovery.hidden_weight": 1.0,
    },
    "hidden states": {"criterion": "gradient", "recovery.hidden_weight": 1.0},
    "best by loss": {"criterion": "gradient", "recovery.best_by": "loss"},
    "no training": {"criterion": "obs", "recovery.epochs": 0.0},
}

WEIGHTS = {
    f"{name}-{action}": {"criterion": name, "action": action}
    for name in OF_WEIGHTS
    for action in ("remove", "suppress")
}
WEIGHTS |= {
    f"{name} with {kind}": {"criterion": name, "regularizer": kind}
    for name in ("gradient", "wanda")
    for kind in ("l1", "l2", "group_lasso")
}
WEIGHTS |= {
    f"{name} {pattern}": {"criterion": name, "pattern": pattern} for name in PATTERNED for pattern in ("2:4", "4:8")
}
WEIGHTS |= {
    "multipliers": {"criterion": "gradient", "multipliers": {"layers.0.attention.query": 3.0}},
    "regrowth": {"criterion": "magnitude", "regrow_fraction": 0.2},
    "regrowth after sparsegpt": {"criterion": "sparsegpt", "regrow_fraction": 0.2},
    "hidden states": {"criterion": "magnitude", "recovery.hidden_weight": 1.0},
    "fewer layers": {"criterion": "magnitude", "num_layers": 2, "layers": 3},
    "fewer features": {"criterion": "magnitude", "hidden_size": 12},
}


def settings_of(case: dict[str, Any], granularity: str) -> PruneSettings:
    """Return loose limits for tiny models, and what the case asks for."""
    recovery = {name.removeprefix("recovery."): value for name, value in case.items() if name.startswith("recovery.")}
    given = {name: value for name, value in case.items() if not name.startswith("recovery.") and name != "layers"}
    if "multipliers" in CRITERIA[case["criterion"]].needs:
        given["multipliers"] = TABLE[granularity]
    return prune_settings(
        **{
            "granularity": granularity,
            "repair": "none",
            "search_trials": 0,
            "budget": {"sparsity": 1.0 - SECOND},
            "min_heads": 0,
            "min_neurons": 0,
            "ffn_multiple": 4,
            "calibration_rows": 24,
            "max_drop": 0.99,
            "regularization": REGULARIZATION,
            "recovery": RECOVERY | recovery,
            **given,
        }
    )
