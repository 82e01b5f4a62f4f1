"""The rows by which somebody's finished model is pruned and judged: read, tokenised, and divided in three."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.prune import PruneSettings
from secateur.config.run import Device, Precision
from secateur.data.encoding import long_texts_of
from secateur.data.labelled import Labelled, read_labelled, read_texts_of
from secateur.data.learned_rows import learned_beside
from secateur.data.splits import split_rows
from secateur.data.text_rules import TextRules
from secateur.data.tokens import TokenRows
from secateur.data.windows import remark_on_length
from secateur.errors import DataError, ModelError
from secateur.families import family_of
from secateur.kinds.base import Kind
from secateur.models.card import Card
from secateur.models.heads import head_of
from secateur.models.vocabulary import require_known_ids
from secateur.pruning.vocabulary import Vocabulary
from secateur.readers.reading import Reading

_HELD_OUT, _VALIDATION = 0.2, 0.1


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        checkpoint: a folder of ours, or a Hugging Face folder of a fine-tuned classifier, a generator or an embedding
            model.
        data: table of rows, see ``read_labelled``.
        reading: its columns, and how it is written.
        settings: criterion, budget, recovery (0 epochs = no training).
        max_length: longer texts are cut, those of a generator go on in the next row; tokens.
        seed: of every random draw.
        num_threads: CPU threads.
        device: where the model is calibrated, trained and scored.
        precision: arithmetic of the matrix products.
        probes: the label column was named; of a model that says no labels they tell what its vectors are good for, or
            what it is told a text should be.
    """

    checkpoint: Path
    data: str
    reading: Reading
    settings: PruneSettings
    max_length: int
    seed: int
    num_threads: int
    precision: Precision
    device: Device = "cpu"
    probes: bool = False


@dataclass(frozen=True)
class Rows:
    """What calibrates and trains, what decides, and what is only used for the scores that are shown.

    Attributes:
        calibration: for the criterion, and for the training.
        validation: decides.
        held_out: for the scores.
        probed: index of the label of every calibration and of every held-out row, where vectors are probed by them.
    """

    calibration: TokenRows
    validation: TokenRows
    held_out: TokenRows
    probed: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def told(self, say: Callable[[TokenRows], Tensor]) -> "Rows":
        """Return the rows with what a model says of each for its target."""
        return self._each(lambda rows: replace(rows, labels=say(rows).numpy()))

    def translated(self, vocabulary: Vocabulary, *, max_length: int) -> "Rows":
        """Return the rows as a model with this vocabulary reads them."""
        return self._each(lambda rows: vocabulary.translate(rows, max_length=max_length))

    def _each(self, change: Callable[[TokenRows], TokenRows]) -> "Rows":
        calibration, validation, held_out = map(change, (self.calibration, self.validation, self.held_out))
        return Rows(calibration, validation, held_out, probed=self.probed)


def as_served(request: Request, tokenizer: PreTrainedTokenizerBase, card: Card, kind: Kind) -> Request:
    """Return what is asked for with the length of the windows that the model reads, where it reads such.

    Raises:
        ModelError: the tokenizer says that it does, and the kind of task has no answer for windows.
    """
    if long_texts_of(tokenizer) != "windows":
        return request
    if not kind.reads_windows:
        raise ModelError(
            f"the tokenizer of {request.checkpoint} says long_texts='windows', and what a model for {kind.name} says "
            "of windows makes no answer for their text"
        )
    return replace(request, max_length=card.max_length or request.max_length)


def limit_of(request: Request, model: PreTrainedModel) -> int:
    """Return the tokens that a row may have."""
    return min(request.max_length, family_of(model).max_tokens(model.config))


def read_rows(
    request: Request,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    rules: TextRules | None,
    kind: Kind,
    controls: Mapping[str, str],
    say: Callable[[str], None],
) -> Rows:
    """Read, tokenise and split the table; copies of a text stand in one part, or the score would be one of memory.

    Args:
        request: what is asked for.
        model: the dense one.
        tokenizer: of it.
        rules: that texts are cleaned by.
        kind: of the model.
        controls: label -> token of a generator that can be told what to write.
        say: takes a line for the user.
    """
    controls = controls if request.probes else {}
    data = _read(request, model, kind, controls)
    if len(data.texts) < 20:
        raise DataError(
            f"--data: {len(data.texts)} rows are too few to calibrate and to check the result; give 20 or more"
        )
    groups = data.groups()
    split = split_rows(
        data.strata if kind.needs_labels or controls else np.zeros(len(data.texts), np.int64),
        validation_fraction=_VALIDATION,
        test_fraction=_HELD_OUT,
        seed=request.seed,
        groups=groups,
    )
    probes = kind.follows_dense and request.probes
    if probes and (reason := kind.why_unprobed(np.asarray(data.labels)[split.train])):
        raise DataError(f"--label-column: a probe learns nothing by it: {reason}, or none named")
    distinct = len(np.unique(groups))
    parts, cut = kind.token_rows(
        data,
        [split.train, split.validation, split.test],
        tokenizer=tokenizer,
        max_length=limit_of(request, model),
        rules=rules,
        controls=controls,
    )
    largest = max(int(part.values.max(initial=0)) for part in parts)
    require_known_ids(largest, vocab_size=model.config.vocab_size)
    for remark in data.remarks:
        say(remark)
    if distinct < len(groups):
        say(
            f"{len(groups) - distinct} of {len(groups)} rows repeat another text; copies are held out together"
            + (f", but for {len(split.spread)} rows, too many alike for one part" if len(split.spread) else "")
        )
    count = learned_beside(request.checkpoint, rules)
    if learned := count([data.texts[place] for place in split.test]) if count else None:
        say(
            f"{learned} of {len(split.test)} held-out rows are among those that the model of this project learned "
            "from: what the two scores differ by counts, neither of them does"
        )
    limit, counts = limit_of(request, model), [part.windowed for part in parts]
    long, windows = (sum(found[name] for found in counts) for name in ("texts", "windows"))
    if long:
        for remark in remark_on_length(len(data.texts), limit, cut=cut, long=long, windows=windows):
            say(remark)
    elif cut:
        share = f"{cut} of {len(data.texts)} texts ({cut / len(data.texts):.1%})"
        say(f"{share} were cut at --max-length {limit} tokens")
    known = np.asarray(data.labels)
    calibration, validation, held_out = parts
    return Rows(calibration, validation, held_out, probed=(known[split.train], known[split.test]) if probes else None)


def _read(request: Request, model: PreTrainedModel, kind: Kind, controls: Mapping[str, str]) -> Labelled:
    reading = request.reading.for_model(kind, str(request.checkpoint))
    if kind.needs_labels:
        return read_labelled(request.data, reading, labels=head_of(model).labels(model.config))
    if len(reading.columns.texts) > 1:
        raise DataError(
            f"--text-column: a model for {kind.name} takes one text at a time, and two columns were named; one would "
            "work"
        )
    if not request.probes:
        reading = replace(reading, columns=replace(reading.columns, label=None))
    elif not kind.follows_dense and not controls:
        raise DataError("--label-column: this model is told no labels (baseline.control); leave it out")
    return (
        read_labelled(request.data, reading, labels=[*controls]) if controls else read_texts_of(request.data, reading)
    )
