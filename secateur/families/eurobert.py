"""EuroBERT (``model_type: eurobert``): an encoder whose layers are Llama's without the mask.

Groups of queries may share a key and a value; a head is such a group. Like Llama's, the config refuses numbers of
queries that do not divide the hidden size. Its classifier reads the first token, the mean, or every token.
"""

from dataclasses import replace

from secateur.families.llama import LLAMA

EUROBERT = replace(
    LLAMA,
    config=replace(LLAMA.config, model_type="eurobert"),
    label_head_paths=("dense", "classifier"),
    generates=False,
)
