"""Adapters: one file per stage (references in, references out), the key, and the stores of bytes and models."""
