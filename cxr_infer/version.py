"""The version, by itself: every room may say it, and none needs the front door for that."""

__version__ = "0.13.0"
