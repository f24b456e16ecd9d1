"""Where files come from and go to, and what an output knows of its results."""
