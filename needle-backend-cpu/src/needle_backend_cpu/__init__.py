"""Needle on the CPU. The entry point names `_plugin`; importing `backend` loads the native code."""

__version__ = "0.1.0"
