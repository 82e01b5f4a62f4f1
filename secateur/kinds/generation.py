"""Generation: texts that go on token by token."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from secateur.kinds.base import Kind, Route
from secateur.quality import MOST_GROWTH, PERPLEXITY, Measure

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
    from secateur.inference.decoding import Sampling
    from secateur.inference.writing import Writer
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores

_LARGEST_EXPONENT = 700.0
"""``exp`` of more is no float; a model that bad is bad enough."""

_PROMPT_CHARS = 4
"""Of a test text that is continued."""

_WARM_UP_TOKENS = 16


@final
class Generation(Kind):
    """The next token of every text; perplexity decides. A label is what a text may be told to be."""

    name: ClassVar[str] = "generation"
    does: ClassVar[str] = "continue a text"
    measure: ClassVar[Measure] = PERPLEXITY
    scores: ClassVar[tuple[str, ...]] = ("perplexity",)
    needs_labels: ClassVar[bool] = False
    predicts_labels: ClassVar[bool] = False
    min_labels: ClassVar[int] = 1
    keeps_logits: ClassVar[bool] = False  # they would be as large as rows, tokens and vocabulary together
    is_attacked: ClassVar[bool] = False
    full_precision: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = None
    hub_example: ClassVar[str | None] = "openai-community/gpt2"
    route: ClassVar[Route] = "generate"
    # Half of the MACs without training may double a perplexity, or worse: whoever asks for a size is told.
    one_shot: ClassVar[Mapping[str, Any]] = {
        "max_drop": MOST_GROWTH,
        "recovery.best_by": "loss",
        "latency.runtime": "torch",
    }
    greetings: ClassVar[tuple[str, ...]] = ("", "?")  # a character may take several tokens, and the context be short
    columns: ClassVar[Mapping[str, str]] = {"text": "string"}
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {
        "control": ("string", ""),
        "max_tokens": ("long", 128),
        "temperature": ("double", 0.8),
        "top_p": ("double", 0.95),
        "seed": ("long", 0),
    }

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        if len(columns := config.ingest.text_columns) > 1:
            yield f"ingest.text_column must name one column, found {', '.join(columns)}: a generator writes one text"
        if config.baseline.control and config.ingest.label_column is None:
            yield "baseline.control needs ingest.label_column, found null"
        if config.evaluate.judge is not None and not config.baseline.control:
            yield (
                "evaluate.judge needs baseline.control: true, since it tells whether a text has the label that was "
                "asked for"
            )
        if config.prune.max_robust_drop is not None:
            yield f"prune.max_robust_drop must be null, found {config.prune.max_robust_drop:g}: attacks need labels"
        if config.evaluate.latency.length >= config.baseline.max_length:
            yield (
                f"evaluate.latency.length must be below baseline.max_length={config.baseline.max_length}, found "
                f"{config.evaluate.latency.length}: so many tokens are written behind the beginning of a text"
            )
        for name, runtime in (
            ("evaluate.deployed", config.evaluate.deployed),
            ("register.runtime", config.register_.runtime),
        ):
            if runtime == "onnx-int8":
                # One scale of activations for all rows of a call: a text would depend on those written beside it.
                yield f"{name} must be torch or onnx, found onnx-int8"
        if config.evaluate.robustness.rows:
            yield f"evaluate.robustness.rows must be 0, found {config.evaluate.robustness.rows}: attacks need labels"

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        return {
            **values,
            "evaluate": {"deployed": "onnx", "robustness": {"rows": 0}},
            "register": {"runtime": "onnx"},
        }

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; every label has an index."""
        from secateur.readers.labels import indexed

        return indexed(labels)

    def outputs(self, labels: Sequence[str]) -> None:
        """See ``Kind``."""
        return None

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; a causal language model."""
        from secateur.models.heads import head_of

        return head_of(config).per_token

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
        """See ``Kind``; no text is cut, a long one goes on in the next row."""
        from secateur.data.documents import documents_of, read_texts
        from secateur.data.tokens import write_tokens
        from secateur.training.packing import one_by_one, packed
        from secateur.training.prepared_rows import TRAIN, VALIDATION

        known = labels if controls else ()
        held = read_texts(tables["validation"], labels=known)
        train = documents_of(read_texts(tables["train"], labels=known), tokenizer, controls=controls)
        validation = documents_of(held, tokenizer, controls=controls)
        write_tokens(packed(train, max_length=max_length), out / TRAIN)
        write_tokens(one_by_one(validation, max_length=max_length, rows=[row.row for row in held]), out / VALIDATION)
        return 0

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
        """See ``Kind``; texts that are learned from are packed, others go on in further rows: none is cut."""
        from secateur.data.documents import TextRow, documents_of
        from secateur.data.text_rules import clean_texts
        from secateur.training.packing import one_by_one, packed

        texts = clean_texts(data.texts, rules)[0] if rules else data.texts
        names: list[str | None] = [*controls] or [None]
        rows = [TextRow(row, text, names[data.labels[row]]) for row, text in enumerate(texts)]
        found = [documents_of([rows[row] for row in part], tokenizer, controls=controls) for part in parts]
        first, *others = zip(found, parts, strict=True)
        judged = [one_by_one(documents, max_length=max_length, rows=part.tolist()) for documents, part in others]
        return [packed(first[0], max_length=max_length), *judged], 0

    def in_card(self, controls: Mapping[str, str]) -> dict[str, Any]:
        """See ``Kind``; the labels that a text may be told to have, with their tokens."""
        return {"control": dict(controls)}

    def loss(
        self,
        logits: "Tensor",
        labels: "Tensor",
        *,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> "Tensor":
        """See ``Kind``; cross-entropy of (B, T, V) logits and (B, T) next tokens, in nats per predicted token."""
        from secateur.training.objectives import next_token_loss

        return next_token_loss(logits, labels, label_smoothing=label_smoothing, reduction=reduction)

    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """See ``Kind``; KL(expected || logits) in nats per token, of (tokens, V) logits."""
        import torch
        from torch.nn.functional import kl_div

        found, wanted = torch.log_softmax(logits, dim=-1), torch.log_softmax(expected, dim=-1)
        return kl_div(found, wanted, log_target=True, reduction="batchmean")

    def recovery(self, lesson: "Lesson") -> "Objective":
        """See ``Kind``; the dense model runs on every batch."""
        from secateur.training.text_distillation import TextDistillation

        return TextDistillation(lesson)

    def validate(
        self,
        model: "PreTrainedModel",
        rows: "TokenRows",
        *,
        batch_size: int,
        precision: "Precision",
        dense_logits: "Tensor | None" = None,
    ) -> "Scores":
        """See ``Kind``; the loss in nats per token of the dense model's tokenizer, and its exponential."""
        import torch

        from secateur.training.batches import IGNORED, batches_of
        from secateur.training.objectives import in_reach, outputs_of, pad_token_id
        from secateur.training.validation import Scores

        model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in batches_of(rows, batch_size=batch_size, pad_token_id=pad_token_id(model)):
                for part in in_reach(model, batch.to(model.device)):
                    logits = outputs_of(model, part, precision=precision).logits
                    total += float(self.loss(logits, part.labels, reduction="sum"))
                count += int((batch.labels != IGNORED).sum())
        loss = rows.spelling * total / max(count, 1)
        return Scores(self.measure, loss=loss, values={"perplexity": math.exp(min(loss, _LARGEST_EXPONENT))})

    def noise(self, num_rows: int) -> float:
        """See ``Kind``; a perplexity is an average over so many tokens that it has none."""
        return 0.0

    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """See ``Kind``; what was learned from may have been copied."""
        return ("train",)

    def evaluate_models(self, given: "Given") -> "Findings":
        """See ``Kind``."""
        from secateur.evaluation.generator_findings import evaluate_generators

        return evaluate_generators(given)

    def describe_speed(self, settings: "EvaluateSection") -> dict[str, Any]:
        """See ``Kind``."""
        return {"batches": list(settings.generation.batches), "deployed": settings.deployed}

    def measure_speed(
        self, folders: Mapping[str, "Path"], *, settings: "EvaluateSection", exports: "Path"
    ) -> dict[str, Any]:
        """See ``Kind``; tokens per second."""
        from secateur.evaluation.generator_findings import throughputs

        return throughputs(folders, settings=settings, exports=exports)

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.generators import PRESENTATION

        return PRESENTATION

    def judge_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, config: "RunConfig", root: "Path"
    ) -> tuple["Condition", ...]:
        """See ``Kind``."""
        from secateur.evaluation.generator_measurement import judge_generators

        return judge_generators(folders, rows, config=config, root=root)

    def compare_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """See ``Kind``; texts that became less probable, and how perplexity grew."""
        from secateur.evaluation.generator_comparison import compare_generators

        return compare_generators(folders, rows, num_threads=num_threads, num_examples=num_examples)

    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """See ``Kind``; nats per character of every text."""
        from secateur.evaluation.generator_comparison import losses_again

        return losses_again(folder, test=test, labels=labels)

    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """See ``Kind``."""
        return math.log(metrics["char_perplexity"]) if "char_perplexity" in metrics else None

    def open_model(self, folder: "Path", *, num_threads: int = 1, verify: bool = True) -> "Writer":
        """See ``Kind``; opening always verifies."""
        from secateur.inference.writing import Writer

        return Writer.load(folder, num_threads=num_threads)

    def warm_up(self, model: "Writer", *, label: str) -> None:
        """See ``Kind``."""
        from secateur.data.documents import TextRow, documents_of
        from secateur.errors import CheckFailed
        from secateur.evaluation.perplexity import document_losses
        from secateur.inference.decoding import Sampling

        begin = documents_of([TextRow(row=0, text="", label=None)], model.tokenizer, controls=model.controls)
        found = document_losses(model.model, begin, context=model.context, batch_size=1)
        if not math.isfinite(found.loss):
            raise CheckFailed(f"{label} computes no probabilities, so it cannot write")
        for num_texts in (1, 2):
            model.write([""] * num_texts, sampling=Sampling(_WARM_UP_TOKENS))

    def askable(self, texts: Sequence[str]) -> list[str]:
        """See ``Kind``; their beginnings."""
        return [text[:_PROMPT_CHARS] for text in texts]

    def probe_model(
        self, folder: "Path", texts: Sequence[str], *, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """See ``Kind``; the score is how probable the prompt itself is, per token."""
        import numpy as np

        from secateur.data.documents import TextRow, documents_of
        from secateur.evaluation.perplexity import document_losses
        from secateur.inference.decoding import Sampling

        writer = self.open_model(folder)
        rows = [TextRow(row=number, text=prompt, label=None) for number, prompt in enumerate(texts)]
        documents = documents_of(rows, writer.tokenizer, controls=writer.controls)
        found = document_losses(writer.model, documents, context=writer.context, batch_size=1)
        written = writer.write(texts, sampling=Sampling(**parameters))
        scores = np.exp(-found.losses / found.tokens).tolist()
        return [{"label": text.text, "score": score} for text, score in zip(written, scores, strict=True)]

    def answer_texts(
        self, model: "Writer", texts: Sequence[str], parameters: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        """See ``Kind``; parameters that are not given have their defaults, those of ``Sampling`` where it has any."""
        sampling, label = self._asked_for(parameters)
        written = model.write(texts, sampling=sampling, label=label)
        return {"text": [text.text for text in written]}

    def _asked_for(self, parameters: Mapping[str, Any]) -> tuple["Sampling", str | None]:
        """Return how tokens are chosen, and what texts should be."""
        from secateur.inference.decoding import Sampling

        given = {
            name: parameters[name] for name in ("max_tokens", "temperature", "top_p", "seed") if name in parameters
        }
        sampling = Sampling(**{"max_tokens": self.parameters["max_tokens"][1], **given})
        return sampling, parameters.get("control") or None

    def answer_rows(
        self, model: "Writer", texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """See ``Kind``; the text with its prompt, and whether the model ended it."""
        from secateur.evaluation.generator_rows import texts_of_rows

        defaults = {name: default for name, (_, default) in self.parameters.items()}
        sampling, label = self._asked_for({**defaults, **parameters})
        return texts_of_rows(model, texts, numbers=numbers, sampling=sampling, label=label)

    def unknown_labels(self, model: "Writer", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; those that the model cannot be told."""
        return [label for label in labels if label not in model.controls]

    def measure_rows(self, model: "Writer", texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """See ``Kind``; nats, tokens and characters."""
        from secateur.evaluation.generator_rows import losses_of_rows

        return losses_of_rows(model, texts, labels)

    def scores_of(
        self, model: "Writer", values: "npt.NDArray[np.float64]", *, samples: int, level: float, seed: int
    ) -> "dict[str, Interval]":
        """See ``Kind``; perplexity per token of the model, and per character."""
        from secateur.evaluation.generator_rows import perplexities_of

        return perplexities_of(values, samples=samples, level=level, seed=seed)

    def confusion_of(self, model: "Writer", values: "npt.NDArray[np.float64]") -> None:
        """See ``Kind``."""
        return None


KIND = Generation()
