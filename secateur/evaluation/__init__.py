"""What a model is worth: task metrics, cost, measured latency."""
