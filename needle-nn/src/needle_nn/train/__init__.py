"""The command `needle train`: recipes that train a model on real data."""
