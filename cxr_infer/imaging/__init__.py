"""Pure functions on arrays: pixel values, noise, windows, metrics, the phantom."""
