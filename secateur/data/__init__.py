"""Rows of text and label: where they come from, which of them stay, how they are split."""
