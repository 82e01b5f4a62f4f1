"""Rows of text and label: which of them stay, how they are split, and what becomes of them."""
