"""Where the script of a version that 0.3 or an earlier release registered finds what predicts."""

from secateur.inference.prediction import Predictor

__all__ = ["Predictor"]
