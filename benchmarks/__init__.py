"""Measurements too slow, or too dependent on the machine, for tests: `python -m benchmarks.quality --data DIR`."""
