"""Processes that we start, and how ours ends: child servers and signals."""
