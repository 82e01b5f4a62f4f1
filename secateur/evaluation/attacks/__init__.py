"""Attacks on texts: by characters, by words, and by the gradient of the model under attack."""
