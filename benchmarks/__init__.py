"""What is too slow, or hangs too much on the machine, for a test: `python -m benchmarks.quality --data DIR`."""
