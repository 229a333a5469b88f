"""Constructs with our house defaults, one a file."""
