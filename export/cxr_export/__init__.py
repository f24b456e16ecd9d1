"""Export trained checkpoints as self-describing ONNX files, verified before they replace the old ones."""
