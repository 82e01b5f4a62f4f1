"""What a kind of task answers. Every room asks the kind where a model that labels a text and one that writes differ."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from secateur.quality import Measure

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from secateur.config.evaluate import EvaluateSection
    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.labelled import Labelled
    from secateur.data.text_rules import TextRules
    from secateur.data.tokens import TokenRows
    from secateur.evaluation.findings import Answered, Findings, Given
    from secateur.evaluation.metrics import Interval
    from secateur.evaluation.row_scores import Measured
    from secateur.gate.condition import Condition, JudgedRows
    from secateur.inference.answers import Answers
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores


Route = Literal["predict", "generate", "embed"]
"""What a server answers: labels or numbers for texts, texts for prompts, or vectors for texts."""


class Kind(ABC):
    """One kind of task, without a state; ``KIND`` of its file is its only object.

    Texts are strings; where rows have two, each is a pair in one string (``secateur.readers.pairs``).
    A file is read whenever its kind is named, so what is heavy (torch, transformers) is imported inside the methods.
    For the identity of a stage the methods count one by one: those that the stage's code names, with what they import.

    Attributes:
        name: in ``run.task`` and in cards; that of its file.
        does: what a model of it does, for ``--help``: "label a text".
        measure: the score that decides.
        scores: names of the validation scores, the deciding one among them, in the order of the training curve.
        needs_labels: a row without a label is of no use.
        label_sets: a row has any number of labels (``secateur.readers.label_sets``), and not one.
        follows_dense: what a row is to be told is what the dense model says of it, and no label.
        predicts_labels: labels are what a model tells, with a logit each.
        tells_numbers: a row has a number (``secateur.readers.numbers``), and a model tells one.
        min_labels: different labels that rows must have, where they have any; 0 where labels are no classes.
        keeps_logits: what the dense model says about the training rows is kept for the rounds; else it is asked again.
        judges_by_dense: a promise is held against more than the labels of the validation rows: what the dense model
            says of them counts too.
        is_attacked: scored under attack as well.
        full_precision: int8 is refused.
        weighs_classes: rows may count by their label (``baseline.class_weights``), see ``weighted_loss``.
        reads_windows: what a model says of a text may be the mean of the logits that it has for its windows
            (``secateur.data.windows``).
        problem_type: of the config, in the words of transformers; None where it says nothing.
        hub_example: of a model to start from, where no encoder will do; None where any does.
        route: of the server: ``predict`` and ``embed`` take texts, ``generate`` prompts.
        greetings: texts that any model of this kind answers.
        columns: of what MLflow answers, one row per text -> type, ``[string]`` of a list; the first is what a model
            says.
        one_shot: settings of ``prune`` that the command ``secateur prune`` takes unless it is told others.
        parameters: that MLflow takes beside the texts -> type and default.
    """

    name: ClassVar[str]
    does: ClassVar[str]
    measure: ClassVar[Measure]
    scores: ClassVar[tuple[str, ...]]
    needs_labels: ClassVar[bool]
    label_sets: ClassVar[bool] = False
    follows_dense: ClassVar[bool] = False
    predicts_labels: ClassVar[bool]
    tells_numbers: ClassVar[bool] = False
    min_labels: ClassVar[int]
    keeps_logits: ClassVar[bool]
    judges_by_dense: ClassVar[bool] = False
    is_attacked: ClassVar[bool]
    full_precision: ClassVar[bool]
    weighs_classes: ClassVar[bool] = False
    reads_windows: ClassVar[bool] = False
    problem_type: ClassVar[str | None]
    hub_example: ClassVar[str | None]
    route: ClassVar[Route]
    greetings: ClassVar[tuple[str, ...]]
    columns: ClassVar[Mapping[str, str]]
    parameters: ClassVar[Mapping[str, tuple[str, Any]]]
    one_shot: ClassVar[Mapping[str, Any]] = {}

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
    def outputs(self, labels: Sequence[str]) -> Sequence[str] | None:
        """Return the names of the logits that a model has for a row; None for a language model's, one per token.

        Args:
            labels: names in index order; none where a row's target is no label.
        """

    @abstractmethod
    def claims(self, config: "PreTrainedConfig") -> bool:
        """Tell whether a finished model with this config is of this kind."""

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
    def token_rows(
        self,
        data: "Labelled",
        parts: "Sequence[npt.NDArray[np.int64]]",
        *,
        tokenizer: "PreTrainedTokenizerBase",
        max_length: int,
        rules: "TextRules | None",
        controls: Mapping[str, str],
    ) -> "tuple[list[TokenRows], int]":
        """Tokenise somebody's rows for a finished model.

        Args:
            data: the rows.
            parts: places of the rows of each part; the first one is learned from.
            tokenizer: of the model.
            max_length: tokens of a row, at most.
            rules: that texts are cleaned by; None leaves them as they are.
            controls: label -> the token that stands in front of its texts; none where texts are told no label.

        Returns:
            The rows of each part, whose numbers are places in ``data``, and how many texts were cut.
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

    def weighted_loss(
        self, logits: "Tensor", labels: "Tensor", weights: "Tensor", *, label_smoothing: float = 0.0
    ) -> "Tensor":
        """Return the mean over the rows of their losses times ``weights``, (B,), of a kind that weighs classes."""
        raise NotImplementedError(f"{self.name} weighs no classes")

    @abstractmethod
    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """Return how far logits are from those of another model, the mean over the rows; 0 where they say the same."""

    def log_probabilities(self, logits: "Tensor") -> "Tensor":
        """Return logarithms of probabilities whose divergence tells two models of a row, or a token, apart, (..., K).

        By default those of labels, or tokens, of which one is right.
        """
        return logits.log_softmax(dim=-1)

    def divergence(self, found: "Tensor", wanted: "Tensor") -> "Tensor":
        """Return how far two models are apart by their ``log_probabilities``, the sum over rows; by default in nats.

        Args:
            found: of a changed model, (..., K).
            wanted: of the model itself.
        """
        from torch.nn.functional import kl_div

        return kl_div(found, wanted, log_target=True, reduction="sum")

    def direction(self, logits: "Tensor", signs: "Tensor") -> "Tensor":
        """Return a direction in logit space whose covariance is the Hessian of that divergence, (..., C).

        By default ``diag(p) - p p^T``, of probabilities p that add up to 1.

        Args:
            logits: (..., C).
            signs: -1 or 1 by chance, (..., C).
        """
        probabilities = logits.softmax(dim=-1)
        signed = probabilities.sqrt() * signs
        return signed - probabilities * signed.sum(dim=-1, keepdim=True)

    def start_(self, model: "PreTrainedModel", rows: "TokenRows") -> None:  # noqa: B027  a kind may leave it so
        """Let the fresh head of a dense model, in place, say what rows are like before any is read; by default nothing.

        Args:
            model: untrained but for its encoder.
            rows: for training.
        """

    @abstractmethod
    def recovery(self, lesson: "Lesson") -> "Objective":
        """Return what a pruned model minimises: the loss on the labels, and what the dense model has to teach."""

    @abstractmethod
    def validate(
        self,
        model: "PreTrainedModel",
        rows: "TokenRows",
        *,
        batch_size: int,
        precision: "Precision",
        dense_logits: "Tensor | None" = None,
    ) -> "Scores":
        """Score a model on rows; it stays in evaluation mode.

        A kind that ``judges_by_dense`` is told ``dense_logits``, of the dense model on the same rows, where a promise
        is to be judged.
        """

    @abstractmethod
    def noise(self, num_rows: int) -> float:
        """Return the standard deviation of a drop of the deciding score that chance makes on so many rows."""

    def untaught(self, rows_of: Mapping[str, int]) -> float | None:
        """Return the best deciding score of what gives every row the same answer; None where nothing does.

        Args:
            rows_of: the label -> rows that have it; under an empty name all rows, where that is not their sum.
        """
        return None

    def probed(
        self,
        learned: "tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]",
        held: "tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]",
    ) -> dict[str, float]:
        """Return what somebody's labels say of a model that learns none: name -> score; none by default.

        Args:
            learned: logits of rows to learn the labels from, (N, C), and the index of each label, (N,).
            held: the same of rows to judge by.
        """
        return {}

    def why_unprobed(self, labels: "npt.NDArray[np.int64]") -> str | None:
        """Return why rows whose labels have these indices, (N,), can teach ``probed`` nothing; None where they can."""
        return None

    # What a model is worth.

    @abstractmethod
    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """Return the parts of the rows besides ``test`` that ``evaluate_models`` reads: ``train``, ``validation``."""

    @abstractmethod
    def evaluate_models(self, given: "Given") -> "Findings":
        """Score the dense model and every round on the test rows."""

    @abstractmethod
    def describe_speed(self, settings: "EvaluateSection") -> dict[str, Any]:
        """Return what latency.json says of how ``measure_speed`` measures: other values, and it measures again."""

    @abstractmethod
    def measure_speed(
        self, folders: Mapping[str, "Path"], *, settings: "EvaluateSection", exports: "Path"
    ) -> dict[str, Any]:
        """Return what latency.json holds besides the time of a call."""

    @abstractmethod
    def presentation(self) -> "Presentation":
        """Return how results are shown: columns, sections of the page, and the words for them."""

    # What happens to a registered model.

    @abstractmethod
    def judge_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, config: "RunConfig", root: "Path"
    ) -> tuple["Condition", ...]:
        """Return the conditions of the gate, passed or not; without a champion those that need none.

        Args:
            folders: ``challenger`` and, where there is one, ``champion``: verified, in their deployed form.
            rows: test rows that neither was trained on.
            config: section ``promote``.
            root: of the project.
        """

    @abstractmethod
    def compare_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """Compare the models ``a`` and ``b``: JSON values, ``scores`` of each among them."""

    @abstractmethod
    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """Let a model answer the test rows once more.

        Args:
            folder: a verified checkpoint, or its deployed form.
            test: Parquet with ``text`` and ``label``.
            labels: JSON list of names in index order.
        """

    @abstractmethod
    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """Return the deciding score of ``answer_again`` as it was registered; None where it was not."""

    # What a model answers.

    @abstractmethod
    def open_model(self, folder: "Path", *, num_threads: int = 1, verify: bool = True) -> Any:
        """Load a folder in the form that it holds.

        Returns:
            Something with ``labels``, ``max_length`` (tokens) and, for the route ``predict``, ``predict`` as
            ``Predictor`` has it; for the route ``generate`` a ``Writer``.

        Raises:
            CheckpointError: the folder holds no model of this kind, or is damaged.
        """

    @abstractmethod
    def warm_up(self, model: Any, *, label: str) -> None:
        """Let an open model answer once, and refuse one that answers with something that is no number.

        Raises:
            CheckFailed: it does; ``label`` names it.
        """

    @abstractmethod
    def askable(self, texts: Sequence[str]) -> list[str]:
        """Return test texts as a model of this kind can be asked about them."""

    @abstractmethod
    def probe_model(
        self, folder: "Path", texts: Sequence[str], *, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Load a folder and answer: ``label`` (what it says) and ``score`` (a probability, or None) of every text."""

    @abstractmethod
    def answer_texts(self, model: Any, texts: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return ``columns`` of the answers of an open model."""

    @abstractmethod
    def answer_rows(
        self, model: Any, texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """Return all that an open model says of rows of a file, whatever rows are asked about beside them.

        Args:
            model: from ``open_model``.
            texts: at least one.
            numbers: of the rows in the file.
            parameters: some of ``parameters``; those that are not given have their defaults.
        """

    # What somebody's rows say of a model.

    @abstractmethod
    def unknown_labels(self, model: Any, labels: Sequence[str]) -> list[str]:
        """Return those of some labels by which an open model cannot be judged, in their order."""

    @abstractmethod
    def measure_rows(self, model: Any, texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """Return what the scores of rows are made of, a few numbers per row.

        Args:
            model: from ``open_model``.
            texts: at least one.
            labels: of each, none of ``unknown_labels``; None throughout where rows have none.
        """

    @abstractmethod
    def scores_of(
        self, model: Any, values: "npt.NDArray[np.float64]", *, samples: int, level: float, seed: int
    ) -> "dict[str, Interval]":
        """Return name -> score with its interval over resampled rows, the deciding one among them.

        Args:
            model: from ``open_model``.
            values: of any rows that ``measure_rows`` has measured, at least one.
            samples: resamples.
            level: probability that an interval covers.
            seed: of the resampling.
        """

    @abstractmethod
    def confusion_of(self, model: Any, values: "npt.NDArray[np.float64]") -> "npt.NDArray[np.int64] | None":
        """Count rows by true label and the one said, in the order of the model's labels; None without such."""
