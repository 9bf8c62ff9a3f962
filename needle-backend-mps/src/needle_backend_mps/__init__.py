"""Needle on Apple GPUs by MPS. The entry point names `_plugin`; importing `backend` loads the native code."""

__version__ = "0.1.0"
