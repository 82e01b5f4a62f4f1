"""A model at work in every form: PyTorch, ONNX, int8; labels, texts, hidden states, and how long it takes."""
