"""``promote``: what a challenger must show before it becomes the champion, and who is told."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from secateur.config.base import PositiveInt, Section
from secateur.config.evaluate import TextAttack

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_Score = Annotated[float, Field(ge=0.0, le=1.0)]


class SignificanceSection(Section):
    """Paired tests on the rows that both models answered: an exact McNemar test and a bootstrap of macro-F1."""

    level: Annotated[
        float, Field(gt=0.0, lt=0.5, description="one-sided probability of holding an equally good challenger")
    ]
    max_drop: Annotated[
        _Score,
        Field(
            description="hold when the loss is significantly larger than this, of accuracy and of macro-F1; 0 = no significant loss at all"
        ),
    ]
    samples: Annotated[int, Field(ge=100, le=100_000, description="resamples of the bootstrap")]


class PromoteLatencySection(Section):
    """Both models in one interleaved run, each in its deployed form, on this machine."""

    max_ms: Annotated[
        float | None, Field(gt=0.0, description="median milliseconds of one call, at most; null = no limit")
    ]
    max_ratio: Annotated[
        float | None, Field(gt=0.0, description="of the champion's time, at most, as a factor; null = no limit")
    ]
    batch: Annotated[PositiveInt, Field(description="rows per call")]
    length: Annotated[PositiveInt, Field(description="tokens per row")]
    num_threads: Annotated[PositiveInt, Field(description="threads of the runtime")]
    repeats: Annotated[int, Field(ge=3, description="timed calls per model, after the warm-up")]


class PromoteSizeSection(Section):
    """Bytes of all files of the deployed form."""

    max_bytes: Annotated[int | None, Field(gt=0, description="bytes, at most; null = no limit")]
    max_ratio: Annotated[
        float | None, Field(gt=0.0, description="of the champion's bytes, at most, as a factor; null = no limit")
    ]


class PromoteClassesSection(Section):
    """Every label with enough test rows."""

    min_rows: Annotated[PositiveInt, Field(description="labels with fewer test rows are not judged")]
    min_recall: Annotated[_Score, Field(description="recall of every label, at least")]
    max_recall_drop: Annotated[_Score, Field(description="of the champion's recall of the same label")]
    max_f1_drop: Annotated[_Score, Field(description="of the champion's F1 of the same label")]


class PromoteSlicesSection(Section):
    """Every slice of the test rows (length, links, emoji, ...) with enough of them."""

    min_rows: Annotated[PositiveInt, Field(description="slices with fewer test rows are not judged")]
    min_accuracy: Annotated[_Score, Field(description="accuracy on every slice, at least")]
    max_drop: Annotated[_Score, Field(description="of the champion's accuracy on the same slice")]


class PromoteRobustnessSection(Section):
    """Accuracy of both deployed forms on the same attacked texts."""

    rows: Annotated[int, Field(ge=0, description="test rows that are attacked, drawn with run.seed; 0 = off")]
    attacks: Annotated[tuple[TextAttack, ...], Field(min_length=1, description="what is done to the texts")]
    words_per_text: Annotated[PositiveInt, Field(description="words that an attack changes in one text, at most")]
    max_drop: Annotated[_Score, Field(description="of the champion's macro-F1 under attack, mean over the attacks")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        twice = sorted({attack for attack in self.attacks if self.attacks.count(attack) > 1})
        if twice:
            raise ValueError(f"every attack is named once, found {', '.join(twice)} more than once")
        return self


class PromoteSection(Section):
    """The gate between ``challenger`` and ``champion``; scores are of the deployed form on the test rows."""

    min_rows: Annotated[
        PositiveInt,
        Field(description="test rows that neither model was trained or validated on, at least; judged on these alone"),
    ]
    min_macro_f1: Annotated[_Score, Field(description="of the challenger, at least")]
    max_drop: Annotated[_Score, Field(description="of the champion's macro-F1 on the same test rows")]
    significance: Annotated[SignificanceSection, Field(description="paired tests")]
    latency: Annotated[PromoteLatencySection, Field(description="measured time")]
    size: Annotated[PromoteSizeSection, Field(description="bytes")]
    classes: Annotated[PromoteClassesSection, Field(description="per label")]
    slices: Annotated[PromoteSlicesSection, Field(description="per slice")]
    robustness: Annotated[PromoteRobustnessSection, Field(description="under attack")]
    smoke_timeout_s: Annotated[
        float, Field(gt=0.0, le=3600.0, description="seconds for a fresh process to load a model and predict")
    ]
    webhook: Annotated[
        str | None,
        Field(
            description="address that is told of a promotion or rollback by POST: https, or http on this machine; null = nobody"
        ),
    ]
    webhook_timeout_s: Annotated[
        float, Field(gt=0.0, le=60.0, description="seconds; a failure is reported and undoes nothing")
    ]

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = urlsplit(address)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or local):
            raise ValueError("must be an https address, or http on 127.0.0.1, ::1 or localhost")
        return address
