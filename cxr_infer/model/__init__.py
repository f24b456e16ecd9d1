"""The network: what a model file is, how it is opened, and how an image goes through it."""
