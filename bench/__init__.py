"""Measurements: a module here prints each figure that a page claims, beside what it is compared with."""
