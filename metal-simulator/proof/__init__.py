"""The kernels on another GPU; see `__main__.py`."""
