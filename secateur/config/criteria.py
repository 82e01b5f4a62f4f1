"""Which criteria there are, and the sections of params.yaml that they bring: ``prune.criteria.<name>``."""

from typing import TYPE_CHECKING, Any

from secateur.config.brought import BroughtSections
from secateur.extensions import Registry

if TYPE_CHECKING:
    from secateur.pruning.criterion import Criterion

_OWN = (
    "magnitude", "gradient", "l1", "l2", "group_lasso", "fixed_weight", "fluctuation", "fisher", "obs", "wanda",
    "sparsegpt", "random",
)  # fmt: skip

CRITERIA: "Registry[Criterion[Any]]" = Registry(
    "criterion",
    group="secateur.criteria",
    type_="secateur.pruning.criterion:Criterion",
    own={name: f"secateur.criteria.{name}:{name.upper()}" for name in _OWN},
)
"""Every criterion by the name that it has in params.yaml. Ours is the object of that name in the file of that name."""

CRITERION_SECTIONS = BroughtSections(CRITERIA, _OWN, "criteria")
