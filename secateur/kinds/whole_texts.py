"""What kinds have in common whose rows are whole texts with a target each, and whose calls have nothing but a time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secateur.kinds.base import Kind

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

    from secateur.config.evaluate import EvaluateSection
    from secateur.data.labelled import Labelled
    from secateur.data.text_rules import TextRules
    from secateur.data.tokens import TokenRows


class OfWholeTexts(Kind):
    """A kind that answers texts as they are: nothing stands before them, and nothing is written behind."""

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
        """See ``Kind``."""
        from secateur.training.prepared_rows import tokenize_rows

        return tokenize_rows(tables, out, tokenizer=tokenizer, max_length=max_length, kind=self.name)

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
        """See ``Kind``."""
        from secateur.data.labelled import tokenize_labelled

        rows, cut = tokenize_labelled(data, tokenizer=tokenizer, max_length=max_length, rules=rules, kind=self.name)
        return [rows.take(part) for part in parts], cut

    def in_card(self, controls: Mapping[str, str]) -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def describe_speed(self, settings: "EvaluateSection") -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def measure_speed(
        self, folders: Mapping[str, "Path"], *, settings: "EvaluateSection", exports: "Path"
    ) -> dict[str, Any]:
        """See ``Kind``; the time of a call says it all."""
        return {}

    def askable(self, texts: Sequence[str]) -> list[str]:
        """See ``Kind``."""
        return list(texts)
