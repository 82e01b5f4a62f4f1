"""Model families, what may be removed from them, and the checkpoint format."""
