"""A backend of protocol 1.0, sealed: see README.md."""
