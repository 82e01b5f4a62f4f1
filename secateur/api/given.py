"""What somebody gives: a model in memory, and batches or rows of text. All of it is looked at before any compute."""

import copy
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.data.encoding import encode
from secateur.data.tokens import TokenRows, from_lists
from secateur.errors import DataError, ModelError
from secateur.families import FAMILIES, family_of
from secateur.kinds.registry import NUMBER, SEVERAL, kind_of_config
from secateur.models.heads import VECTORS, head_of, require_finished
from secateur.models.pooling import is_pooled
from secateur.models.token_types import tells_texts_apart
from secateur.models.vocabulary import require_known_ids
from secateur.readers.grades import grades_in
from secateur.readers.numbers import as_number
from secateur.readers.pairs import as_text
from secateur.training.batches import IGNORED, ReadyBatches, batches_of
from secateur.training.own_batches import Loss, OwnBatch, own_batches

_log = logging.getLogger(__name__)
_ROWS_PER_BATCH = 32


def copied(model: Any) -> PreTrainedModel:
    """Return a copy of a model that can be pruned or saved, in evaluation mode; the given one is left as it is.

    Raises:
        ModelError: it is no model of transformers, of no supported family, has another head, or is quantised.
    """
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"found a {type(model).__module__}.{type(model).__name__}; models of transformers in memory are supported, "
            f"of the families {', '.join(sorted(FAMILIES))}, without a wrapper around them"
        )
    name = type(model).__name__
    family = family_of(model)
    packed = next((key for key, tensor in model.named_parameters() if not tensor.is_floating_point()), None)
    if packed is not None:
        raise ModelError(f"{name}: {packed} is no floating point number; the model before it was quantised would work")
    config = copy.deepcopy(model.config)
    config.architectures = [name]
    require_finished(config, "memory")
    if head_of(config) is VECTORS and not is_pooled(model):
        raise ModelError(
            f"found a {name}, an encoder without a head; secateur.load reads embedding models from folders"
        )
    twin = copy.deepcopy(model)
    family.prepare_(twin)
    twin.config.architectures = [name]
    return twin.eval()


def ready(
    data: Iterable[Any],
    model: PreTrainedModel,
    *,
    loss: Loss | None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_length: int = 128,
) -> ReadyBatches:
    """Return batches as the engine takes them; with a tokenizer they are made of rows first.

    Args:
        data: batches, or with a tokenizer rows: see ``secateur.prune``.
        model: that will read them.
        loss: of a batch; None for the model's own.
        tokenizer: makes batches of rows.
        max_length: tokens of a row at the most.

    Raises:
        DataError: there are none, or one of them does not fit the model.
    """
    generates = head_of(model).per_token
    if isinstance(data, str | bytes | Mapping):
        raise DataError(f"data is a {type(data).__name__}; a list of batches, or of rows and a tokenizer, would work")
    if tokenizer is not None:
        data = _of_rows(data, model, tokenizer=tokenizer, max_length=max_length)
    accepted = inspect.signature(model.forward).parameters
    limit, num_labels = family_of(model).max_tokens(model.config), model.config.num_labels
    num_sets, numbers = num_labels if _takes_sets(model) else 0, _tells_numbers(model)
    found = own_batches(data, accepted=accepted, generates=generates, loss=loss, num_sets=num_sets, numbers=numbers)
    for batch in found:
        if batch.input_ids.shape[1] > limit:
            raise DataError(
                f"batch {batch.number} has {batch.input_ids.shape[1]} tokens per row, and the model reads {limit}"
            )
        if int(batch.input_ids.min()) < 0:
            raise DataError(f"batch {batch.number} has a token id below 0")
        require_known_ids(int(batch.input_ids.max()), vocab_size=model.config.vocab_size)
        wrong = (batch.labels < 0) | (batch.labels >= num_labels)
        if loss is None and not generates and not num_sets and not numbers and bool(wrong.any()):
            label = int(batch.labels[wrong][0])
            raise DataError(f"batch {batch.number} has label {label}; the model knows 0 to {num_labels - 1}")
        if loss is None and numbers:
            _check_places(batch.labels, grades_in(model.config.id2label), where=f"batch {batch.number}")
        if loss is None and generates and not bool((batch.labels != IGNORED).any()):
            raise DataError(f"batch {batch.number} has no token to predict: all labels are {IGNORED}")
    _warn_of_padding(found, model)
    return ReadyBatches(batches=found, given=() if generates else None)


def _warn_of_padding(batches: Sequence[OwnBatch], model: PreTrainedModel) -> None:
    """Say when an encoder reads padding where it looks for a text: transformers does not move its first token."""
    if (
        family_of(model).generates
        or head_of(model) is VECTORS
        or vars(model.config).get("classifier_pooling") in ("mean", "late")
    ):
        return
    wrong = next((batch for batch in batches if bool((batch.attention_mask[:, 0] == 0).any())), None)
    if wrong is not None:
        _log.warning(
            "batch %d is padded on the left, and a %s reads the first token of a row, which is padding there; padded "
            "on the right it would read the text",
            wrong.number,
            type(model).__name__,
        )


def _of_rows(
    rows: Iterable[Any], model: PreTrainedModel, *, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Tokenise rows, and put rows of similar length into batches."""
    generates = head_of(model).per_token
    found = [_row(row, number, labelled=not generates) for number, row in enumerate(rows, start=1)]
    if not found:
        raise DataError("there is no row; one or more, each with a text, would work")
    limit = min(max_length, family_of(model).max_tokens(model.config))
    encoded = encode(tokenizer, [text for text, _ in found], max_length=limit)
    if encoded.windows is not None and (long := [n for n, ids in enumerate(encoded.ids, start=1) if len(ids) > limit]):
        raise DataError(
            f"row {long[0]} has more than {limit} tokens (max_length), and the tokenizer reads such texts in windows: "
            "`secateur prune` on the saved model does so; shorter texts, or a loss over batches of your own, would work"
        )
    if empty := [number for number, ids in enumerate(encoded.ids, start=1) if not ids]:
        raise DataError(f"row {empty[0]} has no token")
    if full := sum(len(ids) == limit for ids in encoded.ids):
        _log.warning("%d of %d texts have %d tokens or more and were cut there (max_length)", full, len(found), limit)
    second = encoded.second if tells_texts_apart(model.config) else None
    sets, numbered = _takes_sets(model), list(enumerate((label for _, label in found), start=1))
    kind = SEVERAL if sets else None
    if _tells_numbers(model):
        kind, grades = NUMBER, grades_in(model.config.id2label)
        labels: Any = np.array([_number(label, number, grades) for number, label in numbered], np.float32)
    elif sets:
        labels = np.stack([_indicator(label, number, model) for number, label in numbered])
    else:
        labels = [0 if generates else _index(label, number, model) for number, label in numbered]
    tokens = from_lists(encoded.ids, labels=labels, second=second, kind=kind)
    return _padded(tokens, pad=_pad(tokenizer, model), generates=generates)


def _padded(rows: TokenRows, *, pad: int, generates: bool) -> Iterator[dict[str, torch.Tensor]]:
    for batch in batches_of(rows, batch_size=_ROWS_PER_BATCH, pad_token_id=pad):
        following = batch.input_ids.masked_fill(batch.attention_mask == 0, IGNORED)
        yield {**batch.inputs(), "labels": following if generates else batch.labels}


def _pad(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    found = model.config.pad_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return 0 if found is None else int(found)


def _row(row: Any, number: int, *, labelled: bool) -> tuple[str, Any]:
    """Return text and label of a row; two texts are a pair."""
    if isinstance(row, Mapping):
        text, label = row.get("text"), row.get("label")
    elif isinstance(row, tuple | list) and len(row) == 2:
        text, label = row
    else:
        text, label = row, None
    is_pair = labelled and isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(t, str) for t in text)
    if not (isinstance(text, str) or is_pair) or (labelled and label is None):
        wanted = "(text, label) or {'text': ..., 'label': ...}" if labelled else "a text, or {'text': ...}"
        raise DataError(f"row {number} is {str(row)[:60]!r}; {wanted} would work")
    return as_text(text or ""), label


def _takes_sets(model: PreTrainedModel) -> bool:
    kind = kind_of_config(model.config)
    return kind is not None and kind.label_sets


def _tells_numbers(model: PreTrainedModel) -> bool:
    kind = kind_of_config(model.config)
    return kind is not None and kind.tells_numbers


def _check_places(labels: torch.Tensor, grades: Sequence[str], *, where: str) -> None:
    """Refuse numbers of a batch that are no place of a grade, where a model tells grades."""
    wrong = (labels < 0) | (labels > len(grades) - 1) | (labels != labels.round())
    if grades and bool(wrong.any()):
        raise DataError(
            f"{where} has label {float(labels[wrong][0]):g}; labels are places in the order of the grades "
            f"{', '.join(grades)}, from 0 to {len(grades) - 1}"
        )


def _number(label: Any, number: int, grades: Sequence[str]) -> float:
    """Return the number of a row, or of a model of grades the place of its grade."""
    found = as_number(str(label)) if not isinstance(label, bool) else None
    if found is None:
        raise DataError(f"row {number} has label {label!r}; the model tells numbers (regression): a number would work")
    if not grades:
        return found
    place = {float(grade): index for index, grade in enumerate(grades)}
    if found not in place:
        raise DataError(f"row {number} has label {label!r}; the model knows the grades {', '.join(grades)}")
    return float(place[found])


def _indicator(labels: Any, number: int, model: PreTrainedModel) -> npt.NDArray[np.float32]:
    """Return 0 and 1 for every label from a list of them."""
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise DataError(f"row {number} has label {labels!r}; the model gives any number of them: a list would work")
    found = np.zeros(model.config.num_labels, np.float32)
    found[[_index(label, number, model) for label in labels]] = 1.0
    return found


def _index(label: Any, number: int, model: PreTrainedModel) -> int:
    names = {str(name): index for index, name in model.config.id2label.items()}
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < model.config.num_labels:
        return label
    if str(label) not in names:
        known = ", ".join(names)
        raise DataError(f"row {number} has label {label!r}; the model knows {known}, or 0 to {len(names) - 1}")
    return int(names[str(label)])
