"""Where the script of a version that 0.3 or an earlier release registered finds what writes."""

from secateur.inference.writing import Writer

__all__ = ["Writer"]
