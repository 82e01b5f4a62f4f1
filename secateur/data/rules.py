"""The rules of cleaning, as the section ``clean`` says them."""

from secateur.config.clean import CleanSection
from secateur.data.cleaning import RowRules
from secateur.data.text_rules import TextRules
from secateur.readers.layout import Columns


def text_rules_of(clean: CleanSection) -> TextRules:
    """Return what is done to the text of one row."""
    return TextRules(
        repair_encoding=clean.repair_encoding,
        normalization=clean.normalization,
        mask_handles=clean.mask_handles,
        mask_links=clean.mask_links,
        max_chars=clean.max_chars,
        strip_html=clean.strip_html,
    )


def row_rules_of(clean: CleanSection, columns: Columns) -> RowRules:
    """Return which rows stay; without a column of confidence or of labels their rules do not apply."""
    return RowRules(
        text=text_rules_of(clean),
        min_chars=clean.min_chars,
        min_confidence=clean.min_confidence if columns.confidence is not None else None,
        label_conflicts=clean.label_conflicts,
        near_duplicate_threshold=clean.near_duplicate_threshold,
        near_duplicate_chars=clean.near_duplicate_chars,
        near_duplicate_max_share=clean.near_duplicate_max_share,
        labelled=columns.label is not None,
        sets=columns.sets,
        numbers=columns.numbers,
    )
