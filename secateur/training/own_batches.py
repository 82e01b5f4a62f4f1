"""Somebody's own batches and loss, used as they are given: they are neither split, sorted nor padded anew."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from secateur.data.tokens import told_by
from secateur.errors import DataError, ModelError
from secateur.kinds.registry import NUMBER, SEVERAL
from secateur.training.batches import IGNORED, Batch

Loss = Callable[[Any, Mapping[str, Any]], Tensor]
"""``loss(output, batch)``: the mean over the rows of a batch, a scalar; ``output`` is what the model returned."""

_LABELS = "labels"


@dataclass(frozen=True, kw_only=True)
class OwnBatch(Batch):
    """A batch that brings its loss.

    Attributes:
        values: the batch as it was given; tensors on the device of ``input_ids``.
        names: of the values that the model is called with.
        loss: None takes the one that the model returns.
        number: of the batch, from 1, for messages.
    """

    values: Mapping[str, Any]
    names: frozenset[str]
    loss: Loss | None
    number: int

    def inputs(self) -> dict[str, Tensor]:
        """Return what a model is called with."""
        return {name: self.values[name] for name in sorted(self.names)} | super().inputs()

    def to(self, device: torch.device) -> "OwnBatch":
        """Return the batch on a device."""
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in self.values.items()}
        tensors = {name: getattr(self, name).to(device) for name in ("input_ids", "attention_mask", "labels", "index")}
        return replace(self, values=moved, **tensors)

    def own_loss(self, output: Any) -> Tensor:
        """Return the mean over the rows, a scalar.

        Raises:
            ModelError: it is no scalar, not finite, or does not depend on the model.
        """
        loss = output.loss if self.loss is None else self.loss(output, self.values)
        where = f"the loss of batch {self.number}"
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = f"a tensor of {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise ModelError(f"{where} is {found}; a scalar tensor, the mean over the rows, would work")
        if not bool(loss.isfinite().all()):
            raise ModelError(f"{where} is {float(loss)}; check the labels and the weights, a finite one would work")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise ModelError(f"{where} has no gradient; one that is computed from the model's output would work")
        return loss.reshape(())


def own_batches(
    given: Iterable[Any],
    *,
    accepted: Iterable[str],
    generates: bool,
    loss: Loss | None,
    num_sets: int = 0,
    numbers: bool = False,
) -> tuple[OwnBatch, ...]:
    """Read somebody's batches once, and keep them on the CPU.

    Args:
        given: mappings of names to tensors: ``input_ids`` (B, T), ``attention_mask`` (B, T) unless all tokens are real,
            and what else the model is called with or the loss looks at.
        accepted: arguments of the model.
        generates: the model predicts every next token.
        loss: see ``OwnBatch``.
        num_sets: labels of a model that gives a row any number of them; 0 of others.
        numbers: the model tells a number for a row.

    Raises:
        DataError: there are none, or one of them does not hold what the model and the loss need.
    """
    try:
        listed = list(given)
    except TypeError as error:
        raise DataError(f"batches are an iterable of mappings, found a {type(given).__name__}") from error
    if not listed:
        raise DataError("there is no batch; one or more, each with input_ids, would work")
    names = frozenset(accepted) - ({_LABELS} if loss is not None else frozenset())
    found: list[OwnBatch] = []
    first_row = 0
    for number, values in enumerate(listed, start=1):
        kept = _checked(
            values, number=number, labelled=loss is None, generates=generates, num_sets=num_sets, numbers=numbers
        )
        ids = kept["input_ids"]
        mask = kept.get("attention_mask", torch.ones_like(ids)).long()
        batch = OwnBatch(
            input_ids=ids,
            attention_mask=mask,
            labels=_targets(kept.get(_LABELS), ids, mask, generates=generates, num_sets=num_sets, numbers=numbers),
            index=torch.arange(first_row, first_row + len(ids)),
            kind=SEVERAL if num_sets else NUMBER if numbers else told_by(() if generates else None),
            values=kept,
            names=names & {name for name, value in kept.items() if value is not None},
            loss=loss,
            number=number,
        )
        first_row += len(ids)
        found.append(batch)
    return tuple(found)


def _checked(
    values: Any, *, number: int, labelled: bool, generates: bool, num_sets: int, numbers: bool
) -> dict[str, Any]:
    where = f"batch {number}"
    if not isinstance(values, Mapping):
        raise DataError(f"{where} is a {type(values).__name__}; a mapping of names to tensors would work")
    kept = {name: value.detach().cpu() if isinstance(value, Tensor) else value for name, value in values.items()}
    ids, mask = kept.get("input_ids"), kept.get("attention_mask")
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point() or ids.numel() == 0:
        found = f"of {tuple(ids.shape)} {ids.dtype}" if isinstance(ids, Tensor) else f"in {sorted(map(str, kept))}"
        raise DataError(f"{where} needs input_ids, integers of (rows, tokens); found none {found}")
    if mask is not None and (not isinstance(mask, Tensor) or mask.shape != ids.shape):
        raise DataError(f"{where}: attention_mask is 1 on tokens and 0 on padding, of {tuple(ids.shape)} as input_ids")
    if mask is not None and not bool(mask.any(dim=1).all()):
        raise DataError(f"{where} has a row without any token: attention_mask is 0 everywhere")
    if labelled and num_sets:
        _check_sets(kept.get(_LABELS), (len(ids), num_sets), where=where)
    elif labelled and numbers:
        _check_numbers(kept.get(_LABELS), ids, where=where)
    elif labelled:
        _check_labels(kept.get(_LABELS), ids, where=where, generates=generates)
    return kept


def _check_sets(labels: Any, shape: tuple[int, int], *, where: str) -> None:
    fits = isinstance(labels, Tensor) and tuple(labels.shape) == shape and labels.is_floating_point()
    if fits and bool(((labels == 0) | (labels == 1)).all()):
        return
    found = f"{tuple(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
    raise DataError(
        f"{where}: a model of several labels takes labels of {shape}, floats that are 0 or 1 for every label; found "
        f"{found}"
    )


def _check_numbers(labels: Any, ids: Tensor, *, where: str) -> None:
    shape = tuple(ids.shape[:1])
    fits = isinstance(labels, Tensor) and tuple(labels.shape) == shape and labels.is_floating_point()
    if fits and bool(labels.isfinite().all()):
        return
    found = f"{tuple(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
    raise DataError(
        f"{where}: a model that tells numbers (regression) takes labels of {shape}, finite floats; found {found}"
    )


def _targets(labels: Any, ids: Tensor, mask: Tensor, *, generates: bool, num_sets: int, numbers: bool) -> Tensor:
    if numbers:
        fits = isinstance(labels, Tensor) and labels.shape == ids.shape[:1] and labels.is_floating_point()
        return labels.float() if fits else torch.zeros(len(ids))
    if num_sets:
        fits = isinstance(labels, Tensor) and tuple(labels.shape) == (len(ids), num_sets)
        return labels.float() if fits else torch.zeros(len(ids), num_sets)
    return _next_tokens(labels, ids, mask) if generates else _of_rows(labels, ids)


def _check_labels(labels: Any, ids: Tensor, *, where: str, generates: bool) -> None:
    shape = tuple(ids.shape) if generates else tuple(ids.shape[:1])
    if labels is None:
        raise DataError(f"{where} has no labels, and no loss is given; labels of {shape}, or loss=..., would work")
    if not isinstance(labels, Tensor) or labels.is_floating_point() or tuple(labels.shape) != shape:
        found = f"{tuple(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"{where}: the model's own loss takes labels of {shape}, integers; found {found}")


def _of_rows(labels: Any, ids: Tensor) -> Tensor:
    """Return one label per row where there is one; what a loss of one's own reads instead is among its values."""
    fits = isinstance(labels, Tensor) and labels.shape == ids.shape[:1] and not labels.is_floating_point()
    return labels.long() if fits else torch.zeros(len(ids), dtype=torch.int64)


def _next_tokens(labels: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the token after every position, (B, T), as ``Batch`` has it: transformers shifts labels in the model."""
    fits = isinstance(labels, Tensor) and labels.shape == ids.shape and not labels.is_floating_point()
    wanted = labels.long() if fits else ids.long().masked_fill(mask == 0, IGNORED)
    following = torch.full_like(wanted, IGNORED)
    following[:, :-1] = wanted[:, 1:]
    return following
