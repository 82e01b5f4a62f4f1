"""Where the script of a version that 0.3 or an earlier release registered finds how to draw a token."""

from secateur.inference.decoding import Sampling

__all__ = ["Sampling"]
