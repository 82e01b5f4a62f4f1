"""What a kind of task answers. Every room asks the kind where a model that labels a text and one that writes differ."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from secateur.quality import Measure

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.labels import Targets
    from secateur.data.tokens import TokenRows
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores


class Kind(ABC):
    """One kind of task, without a state; ``KIND`` of its file is its only object.

    A file is read whenever its kind is named, so what is heavy (torch, transformers) is imported inside the methods.
    For the identity of a stage the methods count one by one: those that the stage's code names, with what they import.

    Attributes:
        name: in ``run.task`` and in cards; that of its file.
        does: what a model of it does, for ``--help``: "label a text".
        measure: the score that decides.
        scores: names of the validation scores, the deciding one among them, in the order of the training curve.
        needs_labels: a row without a label is of no use.
        predicts_labels: labels are what a model tells, with a logit each.
        min_labels: different labels that rows must have, where they have any; 0 where labels are no classes.
        keeps_logits: what the dense model says about the training rows is kept for the rounds; else it is asked again.
    """

    name: ClassVar[str]
    does: ClassVar[str]
    measure: ClassVar[Measure]
    scores: ClassVar[tuple[str, ...]]
    needs_labels: ClassVar[bool]
    predicts_labels: ClassVar[bool]
    min_labels: ClassVar[int]
    keeps_logits: ClassVar[bool]

    # What params.yaml may say.

    @abstractmethod
    def problems(self, config: "RunConfig") -> Iterator[str]:
        """Yield what does not go with this kind: a sentence each, with the parameter, what it must be, what it is."""

    @abstractmethod
    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return sections of params.yaml with what this kind asks for besides, under names that stand for any."""

    # What rows are.

    @abstractmethod
    def targets(self, labels: Sequence[str]) -> "Targets":
        """Turn the labels of all rows into what a model of this kind learns from.

        Raises:
            DataError: a label is none.
        """

    @abstractmethod
    def tokenize(
        self,
        tables: Mapping[str, "Path"],
        out: "Path",
        *,
        tokenizer: "PreTrainedTokenizerBase",
        labels: Sequence[str],
        controls: Mapping[str, str],
        max_length: int,
    ) -> int:
        """Write the token files ``train.arrow`` and ``validation.arrow`` of a dense model.

        Args:
            tables: ``train`` and ``validation``, as ``clean`` wrote them.
            out: an empty folder.
            tokenizer: of the model.
            labels: names in index order.
            controls: label -> the token that stands in front of its texts; none unless ``baseline.control``.
            max_length: tokens of a row, at most.

        Returns:
            How many training texts were cut.
        """

    @abstractmethod
    def in_card(self, controls: Mapping[str, str]) -> dict[str, Any]:
        """Return what the card of a model of this kind says besides what all cards say."""

    # What is learned.

    @abstractmethod
    def loss(
        self,
        logits: "Tensor",
        labels: "Tensor",
        *,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> "Tensor":
        """Return the loss of a batch over its rows, or over the tokens that it predicts.

        Args:
            logits: as ``Outputs`` describes them.
            labels: as in ``Batch``.
            label_smoothing: share of the mass that is spread over all labels, where there are any.
            reduction: over rows or tokens.
        """

    @abstractmethod
    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """Return how far logits are from those of another model, the mean over the rows; 0 where they say the same."""

    @abstractmethod
    def recovery(self, lesson: "Lesson") -> "Objective":
        """Return what a pruned model minimises: the loss on the labels, and what the dense model has to teach."""

    @abstractmethod
    def validate(
        self, model: "PreTrainedModel", rows: "TokenRows", *, batch_size: int, precision: "Precision"
    ) -> "Scores":
        """Score a model on rows; it stays in evaluation mode."""

    @abstractmethod
    def noise(self, num_rows: int) -> float:
        """Return the standard deviation of a drop of the deciding score that chance makes on so many rows."""
