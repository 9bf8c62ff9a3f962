"""Races of Needle against PyTorch: `python -m bench --help`."""
