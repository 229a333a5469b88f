"""`facetrain dataset check`: what a dataset holds, and what of it would harm training."""
