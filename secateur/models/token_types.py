"""Token types: what tells some models which of two texts a token belongs to."""

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

TYPES = "token_type_ids"
"""The argument of a model, and the input of an ONNX graph."""


def tells_texts_apart(config: PreTrainedConfig) -> bool:
    """Tell whether a model has a type for each of two texts; others go by the tokens between them alone."""
    return int(getattr(config, "type_vocab_size", 0) or 0) > 1


def for_model_(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Let a tokenizer give no types to a model that has none: some models come with the tokenizer of another."""
    if not tells_texts_apart(config):
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != TYPES]
