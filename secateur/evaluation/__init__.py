"""What a model is worth: scores with their intervals, attacks, simple baselines, comparisons in pairs."""
