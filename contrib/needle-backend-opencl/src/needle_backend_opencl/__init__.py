"""Needle on OpenCL. The entry point names `_plugin`; importing `backend` loads pyopencl."""

__version__ = "0.1.0"
