"""Storage of originals and results, and the records of what made each result."""
