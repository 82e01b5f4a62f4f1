"""OLMo 3 (``model_type: olmo3``): OLMo 2, whose layers look at a window, but for every fourth."""

from dataclasses import replace

from secateur.families.olmo2 import OLMO2

OLMO3 = replace(OLMO2, config=replace(OLMO2.config, model_type="olmo3"))
