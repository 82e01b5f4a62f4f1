"""Challenger against champion: pure conditions, which know nothing but numbers."""
