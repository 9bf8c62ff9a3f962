"""Layers, optimizers and data for Needle, reached as `needle.nn`, `needle.optim` and `needle.data`."""
