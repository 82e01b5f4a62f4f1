"""A registered model behind HTTP: batches, limits, health and figures, and the alias that it follows."""
