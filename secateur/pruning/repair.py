"""Making up for a cut without any training: block after block, the last projection is fitted to the dense model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.config.prune import Repair
from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.progress import PATIENCE_S, progress
from secateur.second_order.blocks import Block, blocks_of, masks_of_blocks
from secateur.second_order.calibration import Weighting, all_token_weights
from secateur.second_order.fit import Fit
from secateur.second_order.residual_stream import Call, Spool, calls, enter, layer_modules, run_layer
from secateur.second_order.taps import run_until, tapped
from secateur.training.batches import Batch

Batches = Callable[[], Iterable[Batch]]
"""Yields the same batches in the same order at every call."""


def check_repair(config: PreTrainedConfig, *, mode: Repair | Literal["scales"]) -> None:
    """Refuse what an architecture cannot do; needs its config only.

    Raises:
        ModelError: it has no biases to fit.
    """
    if mode == "bias" and not family_of(config).takes_biases:
        raise ModelError(
            f"{config.model_type} has no biases, so nothing can be made up for by them; "
            "prune.repair=least_squares works"
        )


def repair_(
    model: PreTrainedModel,
    masks: Masks,
    *,
    dense: PreTrainedModel,
    batches: Batches,
    mode: Repair | Literal["scales"],
    seed: int,
    precision: Precision,
    weighting: Weighting = "fisher",
    weights: Sequence[Tensor] = (),
) -> None:
    """Silence what the masks remove, and let the rest make up for it, in place; the widths stay until ``cut_``.

    The blocks are fitted in forward order. The inputs of a fit come from the model as it is by then, so that a
    block also makes up for what the ones before it could not. Its target is what the dense model's block puts out,
    plus how far the residual streams in front of the two blocks have drifted apart; behind a norm of its own a
    projection could not put that out. The new weights minimise the squared distance over the real tokens plus a
    ridge on the change, 1 % of the mean diagonal, by normal equations: memory does not depend on the number of
    rows, hidden states wait in a temporary file.

    * ``bias``: the bias alone (An et al. 2024, FLAP, equation 6, where the input is the mean over the tokens);
    * ``least_squares``: all weights of what stays and the bias (Frantar and Alistarh 2023; Meng et al. 2024,
      OSSCAR, equation 5);
    * ``scales``: one factor per unit, folded into the weights (Kwon et al. 2022, section 4.3).

    For ``bias``, a model without biases gets some where its config can say so; ``least_squares`` does without.

    Args:
        model: changed in place and put into evaluation mode.
        masks: sized for the model; blocks that lose every unit keep a fitted bias.
        dense: what to be close to; same depth and hidden size, any widths. Left as it is.
        batches: calibration rows.
        mode: see above; ``none`` only silences.
        seed: of the random directions of ``fisher``.
        precision: arithmetic of the passes; the fits are float64.
        weighting: ``fisher`` lets a token count by how much the dense logits depend on it.
        weights: what ``token_weights`` gives for every batch, with this seed, where somebody has found it already.

    Raises:
        ModelError: the two models have another depth, or the architecture has no biases to fit.
    """
    check_repair(model.config, mode=mode)
    if mode == "bias":
        family_of(model).add_biases_(model)
    blocks, dense_blocks, keeps = blocks_of(model), blocks_of(dense), masks_of_blocks(masks)
    if len(blocks) != len(dense_blocks):
        raise ModelError(
            f"a model of {len(blocks) // 2} layers cannot be repaired after one of {len(dense_blocks) // 2}; "
            "take the same model before the cut"
        )
    for block, keep in zip(blocks, keeps, strict=True):
        silence_(block, keep)
    model.eval()
    dense.eval()
    if mode == "none":
        return
    drift = family_of(model).adds_directly
    pair = _Pair(model=model, dense=dense, batches=batches, precision=precision, drift=drift)
    with ExitStack() as stack:
        states = _States(pruned=stack.enter_context(Spool()), dense=stack.enter_context(Spool()))
        pair.begin_(states)
        weights = weights or pair.weights(weighting=weighting, seed=seed)
        advance = stack.enter_context(progress("repair", total=len(blocks) // 2, after_s=PATIENCE_S))
        for layer in range(len(blocks) // 2):
            for place in (layer, layer + len(blocks) // 2):
                fit = Fit(blocks[place], keeps[place], solution=mode)
                pair.collect_(fit, states, weights, layer=layer, place=place, reference=dense_blocks[place])
                fit.apply_()
            following = _States(pruned=stack.enter_context(Spool()), dense=stack.enter_context(Spool()))
            pair.advance_(states, following, layer=layer)
            states.close()
            states = following
            advance()


def silence_(block: Block, keep: Tensor) -> None:
    """Zero the columns of the units that go, in place."""
    removed = ~keep.repeat_interleave(block.unit_size)
    with torch.no_grad():
        block.projection.weight[:, removed] = 0.0


@dataclass(frozen=True)
class _States:
    pruned: Spool
    dense: Spool

    def close(self) -> None:
        self.pruned.close()
        self.dense.close()


@dataclass(frozen=True)
class _Pair:
    model: PreTrainedModel
    dense: PreTrainedModel
    batches: Batches
    precision: Precision
    drift: bool

    def begin_(self, states: _States) -> None:
        for batch in (host_batch.to(self.model.device) for host_batch in self.batches()):
            states.pruned.append(enter(self.model, batch, precision=self.precision)[0])
            states.dense.append(enter(self.dense, batch, precision=self.precision)[0])

    def weights(self, *, weighting: Weighting, seed: int) -> list[Tensor]:
        """Return how much each token counts in every block, (blocks, tokens) of every batch."""
        if weighting == "fisher":
            return list(all_token_weights(self.dense, self.batches(), seed=seed, precision=self.precision))
        num_blocks = 2 * len(layer_modules(self.dense))
        return [torch.ones(num_blocks, int(batch.attention_mask.sum())) for batch in self.batches()]

    def collect_(
        self, fit: Fit, states: _States, weights: Sequence[Tensor], *, layer: int, place: int, reference: Block
    ) -> None:
        own, other = layer_modules(self.model)[layer], layer_modules(self.dense)[layer]
        if fit.block.num_units == 0 or reference.num_units == 0:
            return
        with (
            tapped([fit.block.entry, fit.block.projection]) as found,
            tapped([reference.entry, reference.projection]) as wanted,
        ):
            for (batch, call), hidden, dense_hidden, weight in zip(
                self._calls(layer), states.pruned, states.dense, weights, strict=True
            ):
                self._until(fit.block, own, hidden, call)
                self._until(reference, other, dense_hidden, call)
                tokens = batch.attention_mask.bool()
                missing = wanted[1].outputs.float() - found[1].outputs.float()
                if self.drift:
                    missing = missing + wanted[0].inputs.float() - found[0].inputs.float()
                fit.add_(found[1].inputs[tokens].float(), missing[tokens], weight[place])

    def advance_(self, states: _States, following: _States, *, layer: int) -> None:
        own, other = layer_modules(self.model)[layer], layer_modules(self.dense)[layer]
        for (_, call), hidden, dense_hidden in zip(self._calls(layer), states.pruned, states.dense, strict=True):
            following.pruned.append(run_layer(own, hidden.to(self.model.device), call, precision=self.precision))
            following.dense.append(run_layer(other, dense_hidden.to(self.model.device), call, precision=self.precision))

    def _calls(self, layer: int) -> Iterator[tuple[Batch, Call]]:
        return calls(self.dense, self.batches, layer=layer, precision=self.precision)

    def _until(self, block: Block, layer: torch.nn.Module, hidden: Tensor, call: Call) -> None:
        def run() -> None:
            run_layer(layer, hidden.to(self.model.device), call, precision=self.precision)

        run_until(block.projection, run)
