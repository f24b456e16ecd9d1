"""The network: its file, how it is opened, and how it is applied to an image."""
