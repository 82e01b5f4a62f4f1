"""Gemma 2 (``model_type: gemma2``): the layers of Gemma 3 without norms over queries and keys.

Scores and logits are capped, which the weights do not show; every other layer looks at a window only.
"""

from dataclasses import replace

from secateur.families.gemma3 import GEMMA3

GEMMA2 = replace(GEMMA3, config=replace(GEMMA3.config, model_type="gemma2"), query_key_norm_paths=None)
