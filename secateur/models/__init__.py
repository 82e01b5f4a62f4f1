"""What a model is to us: surgery on it, the parts that a cut touches, and the checkpoint format."""
