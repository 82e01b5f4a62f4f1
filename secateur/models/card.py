"""``card.json``: where a checkpoint comes from, and the digests that its files must have. Imports no torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from secateur.errors import CheckpointError
from secateur.files import sha256_file, write_json

CARD = "card.json"

Number = int | float
"""One that is written as it was given: 1 stays 1."""

Json = Mapping[str, Any]


class Result(BaseModel):
    """What became of a model: of the one that lies beside the card, or of one that a round tried.

    Attributes:
        widths: of every layer, as ``Widths.as_dict`` gives them.
        achieved: fractions of dense, by kind of budget.
        metrics: scores on the validation rows.
        training: how long it was trained, as ``Length.as_dict`` gives it.
        vocabulary: how many tokens stayed and at what cost, as ``VocabularyCut.as_dict`` gives it.
        weights_sha256: see ``digest_weights``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    widths: Json | None = None
    achieved: Mapping[str, Number] | None = None
    metrics: Mapping[str, Number] = {}
    training: Json | None = None
    vocabulary: Json | None = None
    weights_sha256: str | None = None


class Card(Result):
    """What ``card.json`` says. A field that the file leaves out has its default, and one we do not know is kept.

    Attributes:
        stage: that wrote it (``prune@r1``).
        key: of that stage.
        task: what the model does; None in folders of somebody else.
        state: ``dense``, ``compact`` or ``recovered``.
        parameters: of the stage, by dotted name.
        inputs: of the stage -> their digests.
        seed: of the run.
        fingerprint: of the environment.
        labels: in the order of the logits.
        control: label -> control token of a generator that can be asked for one.
        max_length: tokens that the model reads, at most.
        long_texts: what it reads of longer texts, where that is not their beginning; its tokenizer says the same.
        max_windows: windows of a longer text that it reads, at most, where it reads such; its tokenizer says the same.
        cut_texts: training texts of which something is not read.
        windowed: of the longer training texts, where they are read in windows: see ``TokenRows.windowed``.
        text_rules: how the training texts were cleaned.
        texts: of a row; 2 of a model that reads pairs, and None of all others.
        dense_widths: of the model before any round.
        kept: which units of the dense model are left; None = all.
        features: which of its hidden features are left; None = all.
        asked: by kind of budget.
        price: kind of budget.
        accepted: False for a round that was rolled back or never ran: the weights are those of the model before it.
        stopped: no round after this one runs.
        reason: of that.
        tried: what a rolled-back round came to.
        tries: every cut with its recovery, in order.
        probes: every short one.
        runtime: that an export is for (``onnx``, ``onnx-int8``, ``padded``); None for a checkpoint.
        source_weights_sha256: of the checkpoint that a padded export was made from.
        files: name -> sha256 of every other file of the folder.
    """

    stage: str | None = None
    key: str | None = None
    task: str | None = None
    state: str | None = None
    parameters: Json = {}
    inputs: Mapping[str, str | None] = {}
    seed: int | None = None
    fingerprint: Json = {}
    labels: Sequence[str] | None = None
    control: Mapping[str, str] = {}
    max_length: int | None = None
    long_texts: str | None = None
    max_windows: int | None = None
    cut_texts: int | None = None
    windowed: Mapping[str, int] | None = None
    text_rules: Json | None = None
    texts: int | None = None
    dense_widths: Json | None = None
    kept: Json | None = None
    features: Sequence[int] | None = None
    asked: Mapping[str, Number] | None = None
    price: str | None = None
    accepted: bool = True
    stopped: bool = False
    reason: str | None = None
    tried: Result | None = None
    tries: Sequence[Json] = ()
    probes: Sequence[Json] = ()
    runtime: str | None = None
    source_weights_sha256: str | None = None
    files: Mapping[str, str] = {}

    @classmethod
    def of(cls, values: "Card | Mapping[str, Any]", *, where: Path | str = CARD) -> "Card":
        """Return the card that holds these values.

        Raises:
            CheckpointError: one of them is not of its type; ``where`` it stands is named.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "it"
            raise CheckpointError(f"{where}: {name} cannot be read: {first['msg']}") from error

    @classmethod
    def read(cls, path: str | Path) -> "Card":
        """Return the card of a checkpoint.

        Raises:
            CheckpointError: the folder is no checkpoint, or its card cannot be read.
        """
        return cls.of(read_card(path), where=Path(path) / CARD)

    @classmethod
    def found_in(cls, folder: Path) -> "Card":
        """Return the card of a folder; an empty one where there is none.

        Raises:
            CheckpointError: the card cannot be read.
        """
        file = folder / CARD
        return cls.of(_values(file), where=file) if file.is_file() else cls()

    @property
    def came_to(self) -> Result:
        """What the stage came to: of a round that was not accepted what it tried, of one that never ran nothing.

        The card of such a round describes the weights beside it, which are another model's.
        """
        return self if self.accepted else self.tried or Result()

    @property
    def num_texts(self) -> int | None:
        """Texts of a row that the model reads, 1 or 2; None where nobody knows: it is not one of a project."""
        return self.texts or (1 if self.text_rules is not None else None)

    def require_max_length(self) -> int:
        """Return ``max_length``, which every stage gives.

        Raises:
            CheckpointError: this card does not.
        """
        if self.max_length is None:
            raise CheckpointError(f"the {CARD} of {self.stage} gives no max_length; write the checkpoint again")
        return self.max_length

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the fields that the file gives."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}

    def changed(self, **values: Any) -> "Card":
        """Return a card with other values; None is a value too."""
        return Card.of({**self.as_json(), **values})

    def as_json(self) -> dict[str, Any]:
        """Return what stands in the file: the fields that were given, and no default."""
        return self.model_dump(exclude_unset=True)


def write_card(path: Path, card: Card) -> None:
    """Write the card of a folder whose other files are complete; it takes their digests as ``files``."""
    files = {
        file.relative_to(path).as_posix(): sha256_file(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file != path / CARD
    }
    write_json(path / CARD, card.changed(files=files).as_json())


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint's card as it stands there.

    Readers take ``Card.read``; the scripts that are stored with versions from before 0.4 take this.

    Raises:
        CheckpointError: the folder is no checkpoint, or its card cannot be read.
    """
    folder = Path(path)
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist; a checkpoint is a folder with {CARD}")
    if not (folder / CARD).is_file():
        hint = "a checkpoint is a folder written by a run"
        if (folder / "config.json").is_file():
            hint = "a plain Hugging Face folder is where a baseline starts (baseline.model)"
        if any(folder.glob("*.onnx")):
            hint = "of ONNX models those that `secateur export` writes are read"
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CARD}; {hint}")
    card = _values(folder / CARD)
    if not isinstance(card.get("files"), dict):
        raise CheckpointError(f"{folder / CARD} names no files; write the checkpoint again")
    return card


def verify(path: str | Path) -> None:
    """Check every file that the card names against its digest.

    Raises:
        CheckpointError: naming the first file that is missing or differs.
    """
    folder = Path(path)
    for name, digest in sorted(Card.read(folder).files.items()):
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing, {CARD} lists it; restore or rebuild the checkpoint")
        if sha256_file(file) != digest:
            raise CheckpointError(
                f"{file} differs from its digest in {CARD}: the file is damaged or was edited; "
                f"restore or rebuild the checkpoint, or, if you trained it further, take {CARD} away"
            )


def _values(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} names no files; write the checkpoint again")
    return values
