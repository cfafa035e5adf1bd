"""Turn a training checkpoint into self-contained ONNX graphs."""
