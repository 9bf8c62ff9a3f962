"""Captured programs: a function's primitives as a Graph, the passes that improve it, and the plan that replays it."""
