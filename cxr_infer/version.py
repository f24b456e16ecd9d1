"""The version, in a module of its own: everything may import it, without importing the rest of `cxr_infer`."""

__version__ = "0.13.0"
