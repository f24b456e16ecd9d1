"""Turn trained checkpoints into self-describing ONNX files, proved before they replace the old ones."""
