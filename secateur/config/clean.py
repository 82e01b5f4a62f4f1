"""``clean``: which rows stay, and how they are split."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from secateur.config.base import PositiveFraction, PositiveInt, ProperFraction, Section


class CleanSection(Section):
    """Rules of cleaning, in the order in which they are applied."""

    split: Annotated[
        Literal["none", "lines", "documents"],
        Field(
            description="generation: what a text of the source is taken apart into; documents stand between blank lines"
        ),
    ] = "none"
    strip_html: Annotated[
        bool, Field(description="take out tags of HTML, its scripts and comments, and read its entities (&nbsp;)")
    ] = False
    repair_encoding: Annotated[bool, Field(description="undo mojibake (ftfy)")] = True
    normalization: Annotated[
        Literal["NFC", "NFKC"], Field(description="Unicode normalisation form; NFKC also folds full-width forms")
    ] = "NFKC"
    mask_handles: Annotated[bool, Field(description="replace @name by @user")] = True
    mask_links: Annotated[bool, Field(description="replace http://... by http")] = True
    min_chars: Annotated[
        PositiveInt, Field(description="shorter texts are dropped, characters; of a pair either text")
    ] = 5
    max_chars: Annotated[PositiveInt, Field(description="longer texts are cut, characters; of a pair each text")] = 2000
    min_confidence: Annotated[
        float,
        Field(
            ge=0.0,
            le=1.0,
            description="rows below are dropped, and above 0 also rows without one; no effect without "
            "ingest.confidence_column",
        ),
    ] = 0.5
    label_conflicts: Annotated[
        Literal["drop", "majority"],
        Field(
            description="equal texts with different labels: drop all, or keep the strict majority's label (of numbers far apart the one next to the median)"
        ),
    ] = "majority"
    near_duplicate_threshold: Annotated[
        float,
        Field(
            gt=0.0,
            le=1.0,
            description="Jaccard similarity of character n-grams from which rows are duplicates; 1 = exact only",
        ),
    ] = 0.8
    near_duplicate_chars: Annotated[
        int, Field(ge=1, le=50, description="n of these n-grams, characters; 5 for letters, 2 or 3 for Chinese")
    ] = 5
    near_duplicate_max_share: Annotated[
        PositiveFraction,
        Field(
            description="largest share of a label's rows that is dropped as near duplicates; where there are more, that is how its texts look: they stay, alike ones in one part of the split"
        ),
    ] = 0.33
    split_by: Annotated[
        Literal["share", "content"],
        Field(
            description="share = every part gets its exact share of each label; content = the digest of each text (or of its group) decides, so that rows that are added move no others; shares are met on average, and min_validation_rows and min_test_rows do not count"
        ),
    ] = "share"
    validation_fraction: Annotated[ProperFraction, Field(description="share of the cleaned rows")] = 0.07
    test_fraction: Annotated[ProperFraction, Field(description="share of the cleaned rows")] = 0.1
    min_validation_rows: Annotated[
        int,
        Field(
            ge=0,
            description="few rows: validation_fraction is raised until there are so many, to a fifth of the rows at most",
        ),
    ] = 0
    min_test_rows: Annotated[
        int, Field(ge=0, description="few rows: the same for test_fraction; promote.min_rows asks for as many")
    ] = 0
    max_train_rows: Annotated[
        PositiveInt | None, Field(description="stratified cap on training rows, or null for all")
    ] = None
    max_validation_rows: Annotated[
        PositiveInt | None, Field(description="stratified cap on validation rows, or null for all")
    ] = 1500

    shards: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="millions of rows: into how many shards they are divided, on disk, whose texts are cleaned one after the other, or on the workers of SECATEUR_ENGINE; a shard of 250 000 tweets takes about 0.5 GB. The same rows stay, whatever the number",
        ),
    ] = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 0.9:
            raise ValueError("validation_fraction + test_fraction must leave at least 0.1 for training")
        if self.min_chars > self.max_chars:
            raise ValueError("min_chars is larger than max_chars")
        return self
