"""The ops: one small class each, by family."""
