"""Next tokens from a causal language model with its cache: greedy, or sampled with draws of one's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

OnToken = Callable[[int], None]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        max_tokens: of a text, the end included.
        temperature: divides the logits; 0 takes the most probable token.
        top_p: the most probable tokens that together hold this mass are drawn from (Holtzman et al. 2020, section 3.1).
        seed: row ``i`` draws from the generator ``(seed, i)``, whatever rows are decoded beside it.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: Tensor,
    *,
    sampling: Sampling,
    end: int | None,
    banned: Sequence[int] = (),
    rows: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    on_token: OnToken | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> list[list[int]]:
    """Continue prompts of equal length.

    The library's own ``generate`` draws from torch's global state; here two models that are asked for the same rows
    draw the same numbers, so that their texts can be compared.

    Args:
        model: a causal language model in evaluation mode.
        prompts: (rows, tokens), at least one token each.
        sampling: how tokens are chosen.
        end: the token that ends a text; None goes on until ``max_tokens``.
        banned: tokens that are never chosen.
        rows: their numbers, for the draws; 0, 1, ... unless given.
        seeds: of every row, where they differ; ``sampling.seed`` unless given.
        on_token: is told every token of the first row as it comes.
        is_wanted: asked before every token; once it says no, what is written by then is returned.

    Returns:
        The new tokens of every row, with the end where there was one.
    """
    cache = DynamicCache(config=model.config)
    numbers = range(len(prompts)) if rows is None else rows
    of_rows = [sampling.seed] * len(prompts) if seeds is None else seeds
    draws = [np.random.default_rng(pair) for pair in zip(of_rows, numbers, strict=True)]
    written: list[list[int]] = [[] for _ in prompts]
    current = prompts.to(model.device)
    blocked = torch.tensor(list(banned), dtype=torch.int64, device=model.device)
    for _ in range(sampling.max_tokens):
        if not is_wanted():
            break
        logits = model(input_ids=current, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].float()
        logits[:, blocked] = -torch.inf
        chosen = _choose(logits, sampling, draws)
        open_rows = [row for row, tokens in enumerate(written) if not tokens or tokens[-1] != end]
        for row in open_rows:
            written[row].append(int(chosen[row]))
        if on_token is not None and 0 in open_rows:
            on_token(written[0][-1])
        if all(tokens[-1] == end for tokens in written):
            break
        current = chosen[:, None]
    return written


def _choose(logits: Tensor, sampling: Sampling, draws: Sequence[np.random.Generator]) -> Tensor:
    """Return one token per row, (rows,)."""
    if sampling.temperature == 0.0:
        return logits.argmax(dim=-1)
    uniform: npt.NDArray[np.float64] = np.array([draw.random() for draw in draws])
    probabilities = torch.softmax(logits.double() / sampling.temperature, dim=-1)
    ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
    kept = ranked.cumsum(dim=-1) - ranked < sampling.top_p  # always the first
    heights = (ranked * kept).cumsum(dim=-1)
    places = torch.searchsorted(heights, torch.from_numpy(uniform).to(heights)[:, None] * heights[:, -1:], right=True)
    return order.gather(-1, torch.minimum(places, kept.sum(dim=-1, keepdim=True) - 1))[:, 0]
