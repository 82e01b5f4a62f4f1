"""Checkpoints in the formats that others read: ONNX (fp32, int8) and padded Hugging Face folders."""
