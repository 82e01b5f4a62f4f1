"""Under which names a config says how many layers there are."""

from transformers import PreTrainedConfig

_KEY = "num_hidden_layers"


def name_layers_(config: PreTrainedConfig) -> None:
    """Let a config whose layers differ say how many there are under the name that all configs know, too.

    Trainer reads the ``config.json`` of what it resumes without the class that knows the family's own name for it
    (DistilBERT, GPT-2), and layers cannot be told apart before they are counted. Our own folders go without
    (``forget_layers_``).
    """
    own = config.attribute_map.get(_KEY)
    if own is not None:
        forget_layers_(config)
        if config.is_heterogeneous:
            vars(config)[_KEY] = vars(config)[own]


def forget_layers_(config: PreTrainedConfig) -> None:
    """Undo ``name_layers_``."""
    if _KEY in config.attribute_map:
        vars(config).pop(_KEY, None)
