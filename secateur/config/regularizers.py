"""Which regularisers there are, and the sections of params.yaml that they bring: ``prune.regularizers.<name>``."""

from typing import TYPE_CHECKING, Any

from secateur.config.brought import BroughtSections
from secateur.extensions import Registry

if TYPE_CHECKING:
    from secateur.pruning.regularizer import Regularizer

NONE = "none"
"""The name of no regulariser."""

_OWN = ("l1", "l2", "group_lasso")

REGULARIZERS: "Registry[Regularizer[Any]]" = Registry(
    "regularizer",
    group="secateur.regularizers",
    type_="secateur.pruning.regularizer:Regularizer",
    own={name: f"secateur.regularizers.{name}:{name.upper()}" for name in _OWN},
)
"""Every regulariser by the name that it has in params.yaml; ours as criteria are."""

REGULARIZER_SECTIONS = BroughtSections(REGULARIZERS, _OWN, "regularizers")
