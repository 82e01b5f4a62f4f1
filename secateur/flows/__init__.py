"""Wiring: what comes next, and the command line."""
