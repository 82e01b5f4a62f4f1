"""``promote``: what a challenger must show before it becomes the champion, and who is told."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from secateur.config.base import PositiveInt, Section, TextAttack
from secateur.config.evaluate import check_named_once

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_PublicKey = Annotated[str, Field(pattern=r"^(ed25519|ecdsa):[A-Za-z0-9+/=]+$", max_length=1000)]
_Score = Annotated[float, Field(ge=0.0, le=1.0)]


class SignificanceSection(Section):
    """How sure the gate must be that a challenger does no harm: a bound on the paired difference from the champion."""

    level: Annotated[
        float,
        Field(gt=0.0, lt=0.5, description="chance of passing a challenger that is worse by as much as is allowed"),
    ] = 0.05
    samples: Annotated[
        int, Field(ge=100, le=100_000, description="resamples behind the bounds of macro-F1, R² and perplexity")
    ] = 1000


class PromoteLatencySection(Section):
    """Both models in one interleaved run, each in its deployed form, on this machine."""

    max_ms: Annotated[
        float | None, Field(gt=0.0, description="median milliseconds of one call, at most; null = no limit")
    ] = None
    max_ratio: Annotated[
        float | None, Field(gt=0.0, description="of the champion's time, at most, as a factor; null = no limit")
    ] = 1.2
    batch: Annotated[PositiveInt, Field(description="rows per call")] = 1
    length: Annotated[PositiveInt, Field(description="tokens per row")] = 32
    num_threads: Annotated[
        PositiveInt,
        Field(description="threads of the runtime; one is timed by its own clock, which other work does not move"),
    ] = 1
    repeats: Annotated[int, Field(ge=3, description="timed calls per model, after the warm-up")] = 100


class PromoteSizeSection(Section):
    """Bytes of all files of the deployed form."""

    max_bytes: Annotated[int | None, Field(gt=0, description="bytes, at most; null = no limit")] = None
    max_ratio: Annotated[
        float | None, Field(gt=0.0, description="of the champion's bytes, at most, as a factor; null = no limit")
    ] = 1.1


class PromoteClassesSection(Section):
    """Every label with enough test rows."""

    min_rows: Annotated[PositiveInt, Field(description="labels with fewer test rows are not judged")] = 100
    min_recall: Annotated[_Score, Field(description="recall of every label, at least")] = 0.0
    max_recall_drop: Annotated[_Score, Field(description="of the champion's recall of the same label")] = 0.05
    max_f1_drop: Annotated[_Score, Field(description="of the champion's F1 of the same label")] = 0.05


class PromoteSlicesSection(Section):
    """Every slice of the test rows (length, links, emoji, ...) with enough of them."""

    min_rows: Annotated[PositiveInt, Field(description="slices with fewer test rows are not judged")] = 100
    min_accuracy: Annotated[_Score, Field(description="accuracy on every slice, at least")] = 0.0
    max_drop: Annotated[
        _Score,
        Field(
            description="of the champion's accuracy on the same slice (regression, ordinal: of the variance that is explained there)"
        ),
    ] = 0.06


class PromoteRobustnessSection(Section):
    """Accuracy of both deployed forms on the same attacked texts."""

    rows: Annotated[int, Field(ge=0, description="test rows that are attacked, drawn with run.seed; 0 = off")] = 256
    attacks: Annotated[tuple[TextAttack, ...], Field(min_length=1, description="what is done to the texts")] = (
        "typos",
        "swaps",
        "homoglyphs",
        "casing",
        "deletion",
    )
    words_per_text: Annotated[PositiveInt, Field(description="words that an attack changes in one text, at most")] = 2
    max_drop: Annotated[_Score, Field(description="of the champion's macro-F1 under attack, mean over the attacks")] = (
        0.05
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_named_once(self.attacks)
        return self


class PromoteGenerationSection(Section):
    """Generators (run.task=generation): perplexity per character, so that tokenizers compare, and control."""

    max_char_perplexity: Annotated[
        float | None, Field(gt=1.0, description="perplexity per character of the challenger, at most; null = no limit")
    ] = None
    max_growth: Annotated[
        float,
        Field(
            ge=0.0,
            description="of the champion's perplexity per character, as a fraction; the texts must show that it is less",
        ),
    ] = 0.05
    max_unknown: Annotated[
        _Score,
        Field(description="share of the tokens of the test texts that the tokenizer does not know, at most"),
    ] = 0.02
    min_control_accuracy: Annotated[
        _Score,
        Field(description="share of the texts that evaluate.judge finds to be what was asked for, at least"),
    ] = 0.0
    max_control_drop: Annotated[_Score, Field(description="of the champion's control accuracy")] = 0.1


class PromoteShadowSection(Section):
    """What `serve --shadow` found of the traffic: texts that challenger and champion answer differently."""

    min_texts: Annotated[PositiveInt, Field(description="texts that both were asked, at least")] = 1000
    max_disagreement: Annotated[
        _Score | None,
        Field(
            description="share that they answer differently, at most; the texts must show that it is less; null = no limit"
        ),
    ] = None


class PromoteSection(Section):
    """The gate between ``challenger`` and ``champion``; measured on the deployed form, on the test rows.

    Of generators it takes min_rows, significance, latency (time of a token), size and generation.
    """

    min_rows: Annotated[
        PositiveInt,
        Field(description="test rows that neither model was trained or validated on, at least; judged on these alone"),
    ] = 100
    min_macro_f1: Annotated[_Score, Field(description="of the challenger, at least")] = 0.0
    min_r2: Annotated[
        _Score, Field(description="regression: R² of the challenger on the test rows, at least; 0 = that of the mean")
    ] = 0.0
    min_qwk: Annotated[
        _Score, Field(description="ordinal: quadratic weighted kappa of the challenger, at least; 0 = chance")
    ] = 0.0
    max_drop: Annotated[
        _Score | Literal["auto"],
        Field(
            description="of the champion's macro-F1, and of its accuracy (regression: R², ordinal: weighted kappa); the test rows must show that the loss is less; auto = 0.02, or the least that so few rows can show"
        ),
    ] = "auto"
    significance: Annotated[SignificanceSection, Field(description="what is shown")] = SignificanceSection()
    latency: Annotated[PromoteLatencySection, Field(description="measured time")] = PromoteLatencySection()
    size: Annotated[PromoteSizeSection, Field(description="bytes")] = PromoteSizeSection()
    classes: Annotated[PromoteClassesSection, Field(description="per label")] = PromoteClassesSection()
    slices: Annotated[PromoteSlicesSection, Field(description="per slice")] = PromoteSlicesSection()
    robustness: Annotated[PromoteRobustnessSection, Field(description="under attack")] = PromoteRobustnessSection()
    generation: Annotated[PromoteGenerationSection, Field(description="of generators")] = PromoteGenerationSection()
    shadow: Annotated[PromoteShadowSection, Field(description="beside the champion")] = PromoteShadowSection()
    smoke_timeout_s: Annotated[
        float, Field(gt=0.0, le=3600.0, description="seconds for a fresh process to load a model and predict")
    ] = 120.0
    approvals: Annotated[
        int, Field(ge=0, le=100, description="people who must sign first, each with another key; 0 = nobody")
    ] = 0
    approvers: Annotated[
        tuple[_PublicKey, ...],
        Field(description="public keys whose approvals count; none = SECATEUR_VERIFY_KEY alone"),
    ] = ()
    webhook: Annotated[
        str | None,
        Field(
            description="address that is told by POST what became of a version: https, or http on this machine; null = nobody"
        ),
    ] = None
    webhook_events: Annotated[
        tuple[Literal["promoted", "rolled_back", "held", "waits", "failed"], ...],
        Field(description="what it is told of"),
    ] = ("promoted", "rolled_back", "held", "waits", "failed")
    webhook_format: Annotated[
        Literal["secateur", "slack", "teams"],
        Field(description="JSON of secateur, or a message for Slack's incoming webhooks or a workflow of Teams"),
    ] = "secateur"
    webhook_timeout_s: Annotated[
        float, Field(gt=0.0, le=60.0, description="seconds; a failure is reported and undoes nothing")
    ] = 5.0
    webhook_tries: Annotated[
        int, Field(ge=1, le=10, description="in all, where it does not answer or asks to come again")
    ] = 3
    webhook_backoff_s: Annotated[
        float, Field(ge=0.0, le=30.0, description="seconds before the second try, twice that before the third, ...")
    ] = 1.0

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, address: str | None) -> str | None:
        if address is None:
            return None
        if not address.isascii() or not address.isprintable() or " " in address:
            raise ValueError("must be written in ASCII without blanks; others are written as %20 and the like")
        parts = urlsplit(address)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or local):
            raise ValueError("must be an https address, or http on 127.0.0.1, ::1 or localhost")
        return address
