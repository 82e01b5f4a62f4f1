"""An encoder without a head: what an embedding model is made of."""

from transformers import PreTrainedConfig


def is_bare(config: PreTrainedConfig) -> bool:
    """Say whether the config is that of an encoder alone (``BertModel``), whose hidden states are what it gives."""
    name = str((config.architectures or [""])[0])
    return name.endswith("Model") and not name.endswith("LMHeadModel")
