"""Is it the same person? `pairs` says which images to compare, `metrics` what their scores are worth."""
