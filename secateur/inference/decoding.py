"""Next tokens from a causal language model with its cache: greedy, or sampled with draws of one's own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.errors import ConfigError
from secateur.inference.language_model import LanguageModel, require_numbers

OnToken = Callable[[int], None]

_LIKELY = 256
"""Tokens that are sorted first."""


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

    def __post_init__(self) -> None:
        """Refuse what chooses nothing, or the least probable.

        Raises:
            ConfigError: naming the value.
        """
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be 1 or more, found {self.max_tokens}")
        if not 0.0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature must be a number from 0 on, found {self.temperature:g}")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p must be above 0 and at most 1, found {self.top_p:g}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, found {self.seed}")


def decode(
    model: LanguageModel,
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
        model: in any runtime.
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

    Raises:
        ModelError: the model gives no numbers.
    """
    read = model.open()
    numbers = range(len(prompts)) if rows is None else rows
    of_rows = [sampling.seed] * len(prompts) if seeds is None else seeds
    draws = [np.random.default_rng(pair) for pair in zip(of_rows, numbers, strict=True)]
    written: list[list[int]] = [[] for _ in prompts]
    current, blocked = prompts, list(banned)
    for _ in range(sampling.max_tokens):
        if not is_wanted():
            break
        logits = read(current).numpy()
        require_numbers(logits)
        if blocked:
            logits[:, blocked] = -np.inf
        chosen = _choose(logits, sampling, draws)
        open_rows = [row for row, tokens in enumerate(written) if not tokens or tokens[-1] != end]
        for row in open_rows:
            written[row].append(int(chosen[row]))
        if on_token is not None and 0 in open_rows:
            on_token(written[0][-1])
        if all(tokens[-1] == end for tokens in written):
            break
        current = torch.from_numpy(chosen[:, None])
    return written


def _choose(
    logits: npt.NDArray[np.float32], sampling: Sampling, draws: Sequence[np.random.Generator]
) -> npt.NDArray[np.int64]:
    """Return one token per row, (rows,)."""
    if sampling.temperature == 0.0:
        best: npt.NDArray[np.int64] = logits.argmax(axis=-1)
        return best
    return np.array([_draw(row, sampling, draw.random()) for row, draw in zip(logits, draws, strict=True)])


def _draw(logits: npt.NDArray[np.float32], sampling: Sampling, uniform: float) -> int:
    """Return the token at a height, 0 to 1, of the mass that is drawn from, the most probable one at the bottom."""
    exponents = (logits.astype(np.float64) - logits.max()) / sampling.temperature
    mass = np.exp(exponents)
    wanted = sampling.top_p * mass.sum()
    likely = np.arange(len(mass))
    if len(mass) > _LIKELY:
        # Mostly a few tokens hold the mass, and sorting them all would take as long as a step of a small model.
        few = np.sort(np.argpartition(mass, -_LIKELY)[-_LIKELY:])
        if mass[few].sum() >= wanted:
            likely = few
    order = likely[np.argsort(-mass[likely], kind="stable")]
    heights = mass[order].cumsum()
    kept = int(np.searchsorted(heights, wanted, side="left")) + 1  # always the first
    place = np.searchsorted(heights[:kept], uniform * heights[:kept][-1], side="right")
    return int(order[min(int(place), len(heights[:kept]) - 1)])
