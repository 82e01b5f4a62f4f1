"""Benchmarks: one module answers one question, prints a table, and writes ``docs/results/<name>.json``."""
